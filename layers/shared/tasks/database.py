"""The database that tasks are kept in: one for the life of the execution environment."""

from __future__ import annotations

import hashlib
import json
from functools import cache

from neon import Database, Effect, Row, Statement, Telemetry
from tasks.settings import settings


@cache
def database() -> Database:
    """Return the database that the environment names, not connected yet.

    Raise neon.ConfigurationError when the environment names none, or for a bad setting.
    """
    return Database.from_environment(guard=_FOUND if settings().allow_owner_login else _GUARD)


def run_as(
    user_id: str, *statements: Statement, effect: Effect, timeout: float | None = None
) -> list[list[Row]]:
    """Run the statements as one transaction of one user, in one round trip.

    Whatever role the connection has (an owner's may bypass row-level security), the statements
    run as `task_api`, which may not: a row that a statement forgot to exclude stays hidden.
    """
    return database().run(*statements, effect=effect, settings=acting_as(user_id), timeout=timeout)


def acting_as(user_id: str) -> dict[str, str]:
    """Return the settings of a transaction for one user, in the order to apply them."""
    return {"role": "task_api", "app.user_id": user_id}


def lock_number(*parts: object) -> int:
    """Return the 64-bit number of a lock; nobody can find other parts with the same one."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def ping() -> None:
    """Ask the database for an answer. Raise neon.DatabaseError when none comes."""
    database().run(Statement("SELECT 1"), effect=Effect.READ)


def telemetry() -> Telemetry:
    """Return the database's counters, live; all are zero until something asks for the database."""
    return _shared().telemetry if _shared.cache_info().currsize else Telemetry()


_shared = database

# With the first statements of each connection. The search_path of the login has to find the tasks,
# and row-level security has to bind it.
_FOUND = Statement("SELECT 'tasks'::regclass")
_GUARD = Statement("SELECT public.refuse_privileged_login(), 'tasks'::regclass")
