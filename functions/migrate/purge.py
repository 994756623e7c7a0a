"""Expired idempotency keys: the SQL function `purge_expired_keys()` deletes them in portions."""

from __future__ import annotations

import time

import psycopg

from neon import direct_conninfo

_CONNECT_SECONDS = 15


def purge(url: str, seconds: float) -> int:
    """Delete expired keys until none is left or `seconds` are over; return how many they were.

    Each portion is a transaction of its own. Raises psycopg.Error.
    """
    end, purged = time.monotonic() + seconds, 0
    conninfo = direct_conninfo(url)
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
        while portion := _portion(connection, end):
            purged += portion
    return purged


def _portion(connection: psycopg.Connection, end: float) -> int:
    """Delete one portion, unless the time is over; return how many keys it had."""
    milliseconds = int((end - time.monotonic()) * 1000)
    if milliseconds <= 0:
        return 0
    with connection.transaction():
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(milliseconds),))
        row = connection.execute("SELECT purge_expired_keys()").fetchone()
    return int(row[0]) if row else 0
