"""The database that tasks are kept in: one for the life of the execution environment."""

import os
from functools import cache

from neon import Database, Effect, Statement, Telemetry


@cache
def database() -> Database:
    """The database of the environment's settings. Raises neon.Misconfigured without any."""
    return Database.from_environment()


def warm() -> None:
    """Connect while Lambda initializes the function, where the CPU is at its fullest.

    Elsewhere (in tests, while the specification is generated) importing a function opens nothing.
    """
    if "AWS_LAMBDA_RUNTIME_API" in os.environ:
        database().warm()


def ping() -> None:
    """Ask the database for an answer. Raises neon.DatabaseError when none comes."""
    database().run(Statement("SELECT 1"), effect=Effect.READ)


def telemetry() -> Telemetry:
    """What the database did so far, and goes on counting; all zero while nobody asked for one."""
    return _shared().telemetry if _shared.cache_info().currsize else Telemetry()


_shared = database
