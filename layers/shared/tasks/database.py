"""The database that tasks are kept in: one for the life of the execution environment."""

from functools import cache

from neon import Database, Effect, Statement, Telemetry


@cache
def database() -> Database:
    """The database of the environment's settings. Raises neon.ConfigurationError without any."""
    return Database.from_environment()


def derive_key(purpose: bytes) -> bytes:
    """Return a secret key that every function with the same database derives alike.

    Raises neon.DatabaseError when the connection string cannot be had.
    """
    return _shared().derive_key(purpose)


def ping() -> None:
    """Ask the database for an answer. Raises neon.DatabaseError when none comes."""
    database().run(Statement("SELECT 1"), effect=Effect.READ)


def telemetry() -> Telemetry:
    """The counters of the database, live; all zero while nobody has asked for one."""
    return _shared().telemetry if _shared.cache_info().currsize else Telemetry()


_shared = database
