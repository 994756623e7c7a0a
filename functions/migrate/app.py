"""Brings the database's schema up to what this version of the API needs, and never back.

Invoked plainly it says what it did. As CloudFormation's custom resource it does the same before
any traffic moves to new code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import custom_resource
from runner import Runner, migrations

from neon import url_from_environment

_FOLDER = Path(__file__).parent / "migrations"
_SHARE = 0.9  # of the time; the rest is for the answer, however badly it goes


class Context(Protocol):
    """What is asked of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int: ...


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Apply what is missing; says which migrations were applied and the version reached.

    Raises MigrationError and neon.DatabaseError; as a custom resource nothing, but answers.
    """
    seconds = context.get_remaining_time_in_millis() / 1000 * _SHARE
    if not custom_resource.is_request(event):
        return _migrate(seconds)
    custom_resource.serve(event, seconds, lambda: _migrate(seconds))
    return {}


def _migrate(seconds: float) -> dict[str, Any]:
    runner = Runner(url_from_environment(), migrations(_FOLDER), seconds=seconds)
    applied = runner.run()
    return {"applied": applied, "version": runner.version}
