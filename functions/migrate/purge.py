"""Expired idempotency keys: the SQL function `purge_expired_keys()` deletes them."""

from __future__ import annotations

import psycopg

from neon import direct_conninfo

_CONNECT_SECONDS = 15


def purge(url: str, seconds: float) -> int:
    """Delete all expired keys and return how many there were.

    Postgres ends the work after `seconds`. Raises psycopg.Error.
    """
    milliseconds = str(max(1, int(seconds * 1000)))
    with psycopg.connect(direct_conninfo(url), connect_timeout=_CONNECT_SECONDS) as connection:
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (milliseconds,))
        row = connection.execute("SELECT purge_expired_keys()").fetchone()
        return int(row[0]) if row else 0
