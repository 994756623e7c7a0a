"""Keep the database's schema up to date, and remove what has expired.

There are three kinds of events. CloudFormation's custom resource applies the migrations before
any function that needs them is updated. The schedule's `{"action": "purge"}` removes expired
idempotency keys. Any other event applies the migrations and returns what was done.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import custom_resource
from purge import purge
from runner import Runner, migrations

from neon import ConfigurationError, url_from_environment
from observability import LambdaContext, logger, observed

_FOLDER = Path(__file__).parent / "migrations"
_SHARE = 0.9  # of the remaining time; the rest is for the response to CloudFormation
_IAM_SECONDS = 60.0
_PAUSE_SECONDS = 2.0


@observed
def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Migrate, or purge, and return what was done.

    Raises MigrationError and neon.DatabaseError. A custom resource raises nothing: CloudFormation
    gets the failure as its response.
    """
    seconds = context.get_remaining_time_in_millis() / 1000 * _SHARE
    if custom_resource.is_request(event):
        custom_resource.serve(event, seconds, lambda: _migrate(seconds))
        return {}
    if isinstance(event, Mapping) and event.get("action") == "purge":
        return _purge(seconds)
    return _migrate(seconds)


def _migrate(seconds: float) -> dict[str, Any]:
    end = time.monotonic() + seconds
    url = _url(end)
    runner = Runner(url, migrations(_FOLDER), seconds=end - time.monotonic())
    applied = runner.run()
    logger.info("applied %s", ", ".join(applied) or "nothing")
    return {"applied": applied, "version": runner.version}


def _purge(seconds: float) -> dict[str, Any]:
    purged = purge(url_from_environment(), seconds)
    logger.info("purged %d expired idempotency keys", purged)
    return {"purged": purged}


def _url(end: float) -> str:
    """Return the owner's connection string; wait up to a minute for the permission to read it.

    In a first deployment the role is seconds old, and IAM needs up to a minute until all of AWS
    knows its permissions: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html
    """
    until = min(end, time.monotonic() + _IAM_SECONDS)
    while True:
        try:
            return url_from_environment()
        except ConfigurationError as error:
            is_denied = "AccessDenied" in str(error)
            if not is_denied or time.monotonic() + _PAUSE_SECONDS >= until:
                raise
            logger.info("the secret cannot be read yet; trying again in %g s", _PAUSE_SECONDS)
            time.sleep(_PAUSE_SECONDS)
