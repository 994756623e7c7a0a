"""The operations on tasks: each one round trip, and scoped to its user."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from neon import Effect, Statement
from tasks.database import database
from tasks.ids import now, task_id
from tasks.models import Task, TaskCreate, TaskUpdate
from tasks.paging import Page, PageRequest
from tasks.writes import Preconditions, TaskNotFoundError, Write, WriteResult, acting_as

_ANY = Preconditions()


def list_page(user_id: str, wanted: PageRequest) -> Page:
    """One page of the user's tasks. Raises paging.InvalidCursorError."""
    statement = wanted.statement(user_id)
    (rows,) = database().run(statement, effect=Effect.READ, settings=acting_as(user_id))
    return wanted.page(user_id, rows)


def get(user_id: str, id_: UUID) -> Task:
    """The user's task. Raises TaskNotFoundError."""
    statement = Statement(
        """
        SELECT id, user_id, title, description, completed, created_at, updated_at
        FROM tasks
        WHERE user_id = %s AND id = %s
        """,
        (user_id, id_),
    )
    (rows,) = database().run(statement, effect=Effect.READ, settings=acting_as(user_id))
    if not rows:
        raise TaskNotFoundError
    return Task.model_validate(rows[0])


def create(user_id: str, new: TaskCreate, preconditions: Preconditions = _ANY) -> WriteResult:
    """Store a new task. Its id is made before it is sent, so sending it twice stores one."""
    created_at = now()
    id_ = task_id(created_at)
    write = Write(
        """
        INSERT INTO tasks (id, user_id, title, description, completed, created_at, updated_at)
        SELECT %(id)s, %(user_id)s, %(title)s, %(description)s, false,
               %(created_at)s, %(created_at)s
        WHERE current_setting('app.once', true) IS DISTINCT FROM 'no'
        ON CONFLICT (user_id, id) DO UPDATE SET id = excluded.id
        RETURNING id, user_id, title, description, completed, created_at, updated_at
        """,
        user_id,
        id_,
        {"title": new.title, "description": new.description, "created_at": created_at},
        scope="create",
        body=new,
        repeatable=True,
    )
    return write.run(preconditions)


def update(
    user_id: str, id_: UUID, change: TaskUpdate, preconditions: Preconditions = _ANY
) -> WriteResult:
    """Change what `change` names. Raises TaskNotFoundError and VersionMismatchError."""
    write = Write(
        """
        UPDATE tasks
        SET title = coalesce(%(title)s, title),
            description = coalesce(%(description)s, description),
            completed = coalesce(%(completed)s, completed),
            updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
        """
        + _WHERE
        + _RETURNING,
        user_id,
        id_,
        change.model_dump(),
        scope=f"update {id_}",
        body=change,
    )
    return write.run(preconditions)


def toggle(user_id: str, id_: UUID, preconditions: Preconditions = _ANY) -> WriteResult:
    """Flip `completed`. Raises TaskNotFoundError and VersionMismatchError."""
    sql: LiteralString = (
        """
        UPDATE tasks
        SET completed = NOT completed,
            updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
        """
        + _WHERE
        + _RETURNING
    )
    return Write(sql, user_id, id_, {}, scope=f"toggle {id_}").run(preconditions)


def delete(user_id: str, id_: UUID, preconditions: Preconditions = _ANY) -> WriteResult:
    """Remove the task. Raises TaskNotFoundError, the second time too, and VersionMismatchError."""
    sql: LiteralString = "DELETE FROM tasks" + _WHERE + _RETURNING
    return Write(sql, user_id, id_, {}, scope=f"delete {id_}").run(preconditions)


_WHERE = """
WHERE user_id = %(user_id)s AND id = %(id)s
  AND (%(versions)s::timestamptz[] IS NULL OR updated_at = ANY (%(versions)s))
  AND current_setting('app.once', true) IS DISTINCT FROM 'no'
"""

_RETURNING = """
RETURNING id, user_id, title, description, completed, created_at, updated_at
"""
