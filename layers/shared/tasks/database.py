"""The database that tasks are kept in: one for the life of the execution environment."""

import os
from functools import cache

from neon import Database, Effect, Statement, Telemetry
from tasks import cold_start


@cache
def database() -> Database:
    """The database of the environment's settings. Raises neon.ConfigurationError without any."""
    return Database.from_environment()


def warm(*, connect: bool = True) -> None:
    """End INIT, where the CPU is at its fullest, with an open connection.

    Elsewhere (in tests, while the specification is generated) importing a function opens nothing.
    Raises neon.ConfigurationError when no database is set.
    """
    if not cold_start.IN_LAMBDA:
        return
    if connect:
        database().warm()
    cold_start.over()


def ping() -> None:
    """Ask the database for an answer. Raises neon.DatabaseError when none comes."""
    database().run(Statement("SELECT 1"), effect=Effect.READ)


def telemetry() -> Telemetry:
    """The counters of the database, live; all zero while nobody has asked for one."""
    return _shared().telemetry if _shared.cache_info().currsize else Telemetry()


_shared = database

# A function that has a database will need it, and what takes longest to import is still to come.
if cold_start.IN_LAMBDA and (os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_SECRET")):
    database().start_warming()
