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
from runner import Runner, limit_time, migrations

from neon import (
    ConfigurationError,
    direct_connection,
    direct_transaction,
    url_from_environment,
)
from observability import LambdaContext, logger, observed

_FOLDER = Path(__file__).parent / "migrations"
_SHARE = 0.9  # of the remaining time; the rest is for the response to CloudFormation
_IAM_SECONDS = 60.0
_PAUSE_SECONDS = 2.0


@observed
def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Migrate, or purge, and return what was done.

    Raise MigrationError, neon.DatabaseError and psycopg.Error. A custom resource raises nothing:
    CloudFormation gets the failure as its response.
    """
    seconds = context.get_remaining_time_in_millis() / 1000 * _SHARE
    asked = event if isinstance(event, Mapping) else {}
    if "ResponseURL" in asked:
        custom_resource.serve(asked, seconds, lambda: _migrate(seconds))
        return {}
    return _purge(seconds) if asked.get("action") == "purge" else _migrate(seconds)


def _migrate(seconds: float) -> dict[str, Any]:
    end = time.monotonic() + seconds
    url, found = _url(end), migrations(_FOLDER)
    applied = Runner(url, found, seconds=end - time.monotonic()).run()
    logger.info("applied %s", ", ".join(applied) or "nothing")
    return {"applied": applied, "version": len(found)}


def _purge(seconds: float) -> dict[str, Any]:
    """Delete expired keys, each portion in a transaction of its own, while there is time."""
    end, purged, portion = time.monotonic() + seconds, 0, 1
    with direct_connection(url_from_environment()) as connection:
        while portion and time.monotonic() < end:
            with direct_transaction(connection):
                limit_time(connection, end)
                row = connection.execute("SELECT public.purge_expired_keys()").fetchone()
            portion = row[0] if row else 0
            purged += portion
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
