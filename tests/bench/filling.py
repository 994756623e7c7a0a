"""Tables of tasks of any size, filled by the server itself, and one user's place in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.rows import dict_row

from neon import Row
from tasks.database import database
from tasks.models import Task
from tasks.paging import PageRequest

USER = "the-user"
SHARE = 10  # every tenth task is this user's; all users' tasks come in turn, as in life
DONE = 0.9  # the older part of a user's tasks, which is completed

_FILL = """
INSERT INTO tasks (user_id, id, title, description, completed, created_at, updated_at)
SELECT CASE WHEN n %% %(share)s = 0 THEN %(user)s ELSE 'user-' || n %% 9000 END,
       (lpad(to_hex(1795000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
       'Task ' || md5(n::text),
       'It is described in one line of fifty characters: ' || n,
       n < %(all)s * %(done)s,
       timestamptz '2026-11-21' + n * interval '1 millisecond',
       timestamptz '2026-11-21' + n * interval '1 millisecond'
           + (hashint4(n) %% 1000) * interval '1 hour'
FROM generate_series(1, %(all)s) AS n
"""


def fill(url: str, count: int, *, share: int = SHARE) -> None:
    """So many tasks in all, in the order of their creation; indexes are made afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '1GB'")
        connection.execute("SET max_parallel_maintenance_workers = 2")
        indexes = _secondary(connection)
        connection.execute("ALTER TABLE tasks DROP CONSTRAINT tasks_pkey")
        for name in indexes:
            connection.execute(f"DROP INDEX {name}".encode())
        parameters = {"user": USER, "all": count, "share": share, "done": DONE}
        connection.execute(_FILL, parameters)
        connection.execute("ALTER TABLE tasks ADD PRIMARY KEY (user_id, id)")
        for definition in indexes.values():
            connection.execute(definition.encode())
        connection.execute("VACUUM (ANALYZE) tasks")


def after(url: str, wanted: PageRequest, part: float) -> PageRequest:
    """The same list from so far down in it, 0.5 for the middle."""
    order = {"created": "id", "updated": "updated_at, id", "title": "lower(title), id"}[wanted.sort]
    condition = {"all": "true", "pending": "NOT completed", "completed": "completed"}
    where = f"user_id = %s AND {condition[wanted.status]}"
    with psycopg.connect(url, row_factory=dict_row) as connection:
        row = connection.execute(
            f"SELECT * FROM tasks WHERE {where} ORDER BY {order} OFFSET"
            f" (SELECT floor(count(*) * %s) - 1 FROM tasks WHERE {where}) LIMIT 1".encode(),
            (USER, part, USER),
        ).fetchone()
    assert row is not None
    return _following(wanted, row)


def _following(wanted: PageRequest, row: Row) -> PageRequest:
    """The request for what comes after this row, whose cursor the list itself seals."""
    one = PageRequest(wanted.status, wanted.sort, wanted.q, limit=1)
    cursor = one.cursor_after(Task.model_validate(row))
    return PageRequest(wanted.status, wanted.sort, wanted.q, wanted.limit, cursor)


@contextmanager
def using(url: str) -> Iterator[None]:
    """Have the tasks' functions use this database."""
    before = os.environ.get("DATABASE_URL")
    os.environ["DATABASE_URL"] = url
    database.cache_clear()
    try:
        yield
    finally:
        database().close()
        database.cache_clear()
        if before is None:
            del os.environ["DATABASE_URL"]
        else:
            os.environ["DATABASE_URL"] = before


def _secondary(connection: psycopg.Connection) -> dict[str, str]:
    """The indexes beside the primary key, and how each is made."""
    rows = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes"
        " WHERE tablename = 'tasks' AND indexname <> 'tasks_pkey'"
    )
    return {str(name): str(definition) for name, definition in rows}
