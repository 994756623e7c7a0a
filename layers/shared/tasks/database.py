"""The database that tasks are kept in: one for the life of the execution environment."""

import os
from functools import cache

from neon import Database, Effect, Statement, Telemetry
from tasks import cold_start


@cache
def database() -> Database:
    """The database of the environment's settings. Raises neon.Misconfigured without any."""
    return Database.from_environment()


def warm() -> None:
    """The end of INIT, where the CPU is at its fullest: by now the connection is open.

    Elsewhere (in tests, while the specification is generated) importing a function opens nothing.
    """
    if _CONNECTS:
        database().warm()
    if cold_start.IN_LAMBDA:
        cold_start.over()


def ping() -> None:
    """Ask the database for an answer. Raises neon.DatabaseError when none comes."""
    database().run(Statement("SELECT 1"), effect=Effect.READ)


def telemetry() -> Telemetry:
    """What the database did so far, and goes on counting; all zero while nobody asked for one."""
    return _shared().telemetry if _shared.cache_info().currsize else Telemetry()


_shared = database
_CONNECTS = cold_start.IN_LAMBDA and bool({"DATABASE_URL", "DATABASE_SECRET"} & os.environ.keys())

if _CONNECTS:
    database().start_warming()  # what takes longest to import is still to come
