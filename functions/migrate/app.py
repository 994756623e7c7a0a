"""Brings the database's schema up to what this version of the API needs."""

import os
from pathlib import Path
from typing import Any

from runner import Runner, migrations

_FOLDER = Path(__file__).parent / "migrations"


def handler(_event: object, _context: object) -> dict[str, Any]:
    """Apply what is missing; says which migrations were applied and the version reached."""
    runner = Runner(os.environ["DATABASE_URL"], migrations(_FOLDER))
    applied = runner.run()
    return {"applied": applied, "version": runner.version}
