"""The operations on tasks with their SQL: each is one round trip, and scoped to its user.

The columns are the members of `models.Task`, and what a client may set are the members of
`TaskCreate` and `TaskUpdate`: no statement names them again.
"""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from neon import Effect, Statement
from tasks.database import run_as
from tasks.errors import TaskNotFoundError
from tasks.idempotency import (
    IS_VERSION,
    PROCEED,
    DeleteResult,
    Preconditions,
    Write,
    WriteResult,
)
from tasks.ids import now, task_id
from tasks.models import TASKS, Task, TaskCreate, TaskUpdate
from tasks.orders import Sort, Status
from tasks.paging import Page, PageRequest, Position
from tasks.settings import settings

_NONE = Preconditions()


def list_page(user_id: str, wanted: PageRequest) -> Page:
    """Return one page of the user's tasks.

    Raise InvalidCursorError, and neon.TimedOutError when the page takes the database longer than
    `list_timeout`.
    """
    (rows,) = run_as(
        user_id,
        page_statement(user_id, wanted),
        effect=Effect.READ,
        timeout=settings().list_timeout,
    )
    tasks = TASKS.validate_python(rows[: wanted.limit])
    return Page(wanted, tasks, has_more=len(rows) > wanted.limit)


def get(user_id: str, id_: UUID) -> Task:
    """Return the user's task. Raise TaskNotFoundError."""
    (rows,) = run_as(user_id, Statement(_GET, (user_id, id_)), effect=Effect.READ)
    if not rows:
        raise TaskNotFoundError
    return Task.model_validate(rows[0])


def create(user_id: str, new: TaskCreate, preconditions: Preconditions = _NONE) -> WriteResult:
    """Store a new task. Its id is made before it is sent, so sending it twice stores one.

    Raise QuotaExceededError when the user has `max_tasks_per_user` already. Every write with an
    idempotency key raises it as well when the user has used `max_keys_per_user` within 24 hours.
    """
    created_at = now()
    id_ = task_id(created_at)
    params = {**vars(new), "created_at": created_at, "updated_at": created_at}
    write = Write(_INSERT, user_id, id_, params, scope="create", body=new, creates=True)
    return _written(write, preconditions)


def update(
    user_id: str, id_: UUID, change: TaskUpdate, preconditions: Preconditions = _NONE
) -> WriteResult:
    """Change the members that `change` has. Raise TaskNotFoundError or VersionMismatchError."""
    changes = change.changes()
    sql = _update(*(f"{name} = %({name})s" for name in changes))
    write = Write(sql, user_id, id_, changes, scope=f"update {id_}", body=change)
    return _written(write, preconditions)


def toggle(user_id: str, id_: UUID, preconditions: Preconditions = _NONE) -> WriteResult:
    """Flip `completed`. Raise TaskNotFoundError or VersionMismatchError."""
    write = Write(_TOGGLE, user_id, id_, {}, scope=f"toggle {id_}")
    return _written(write, preconditions)


def delete(user_id: str, id_: UUID, preconditions: Preconditions = _NONE) -> DeleteResult:
    """Remove the task. Raise VersionMismatchError, or TaskNotFoundError, the second time too."""
    outcome = Write(_DELETE, user_id, id_, {}, scope=f"delete {id_}").run(preconditions)
    return DeleteResult(outcome.replayed)


def page_statement(user_id: str, wanted: PageRequest) -> Statement:
    """Return the statement of a page; it reads one row more, to know whether more follow."""
    position = wanted.position(user_id)
    sql = _LIST
    if wanted.status is not Status.ALL:
        sql += " AND completed = %(completed)s"
    if wanted.q:
        sql += " AND (title ILIKE %(pattern)s OR description ILIKE %(pattern)s)"
    if position:
        sql += _AFTER[wanted.sort]
    sql += _ORDER[wanted.sort] + " LIMIT %(rows)s"
    return Statement(sql, _page_params(user_id, wanted, position))


def _page_params(user_id: str, wanted: PageRequest, position: Position | None) -> dict[str, object]:
    value, id_ = position or (None, None)
    return {
        "user_id": user_id,
        "completed": wanted.status is Status.COMPLETED,
        "pattern": f"%{_literal(wanted.q)}%",
        "value": value,
        "id": id_,
        "rows": wanted.limit + 1,
    }


def _literal(text: str) -> str:
    """Return the text as a pattern that matches itself and nothing else."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _written(write: Write, preconditions: Preconditions) -> WriteResult:
    outcome = write.run(preconditions)
    if outcome.row is None:  # a replay, and the task was deleted since
        raise TaskNotFoundError
    return WriteResult(Task.model_validate(outcome.row), outcome.replayed)


def _update(*changes: LiteralString) -> LiteralString:
    """Return the statement that makes these changes; the version always moves."""
    return f"UPDATE tasks SET {', '.join([*changes, _VERSION])} {_WHERE} RETURNING {_COLUMNS}"


_COLUMNS: LiteralString = ", ".join(Task.model_fields)

_NOW = "greatest(clock_timestamp(), updated_at + interval '1 microsecond')"

_HAS_KEY = "%(key)s::text IS NOT NULL"

_VERSION = f"""
updated_at = {_NOW}, recorded_at = CASE WHEN {_HAS_KEY} THEN {_NOW} ELSE recorded_at END
"""

_WHERE: LiteralString = f"""
WHERE user_id = %(user_id)s AND id = %(id)s AND {IS_VERSION} AND {PROCEED}
"""

_GET: LiteralString = f"SELECT {_COLUMNS} FROM tasks WHERE user_id = %s AND id = %s"

_NEW = ("user_id", "id", *TaskCreate.model_fields, "created_at", "updated_at")

_INSERT: LiteralString = f"""
INSERT INTO tasks ({", ".join(_NEW)}, recorded_at)
SELECT {", ".join(f"%({name})s" for name in _NEW)},
       CASE WHEN {_HAS_KEY} THEN %(updated_at)s::timestamptz END
WHERE {PROCEED}
ON CONFLICT (user_id, id) DO UPDATE SET id = excluded.id
RETURNING {_COLUMNS}
"""

_TOGGLE = _update("completed = NOT completed")

_DELETE: LiteralString = f"DELETE FROM tasks {_WHERE} RETURNING id"

_LIST: LiteralString = f"SELECT {_COLUMNS} FROM tasks WHERE user_id = %(user_id)s"

_AFTER: dict[Sort, LiteralString] = {
    Sort.CREATED: " AND id > %(id)s",
    Sort.CREATED_DESCENDING: " AND id < %(id)s",
    Sort.UPDATED: " AND (updated_at, id) > (%(value)s, %(id)s)",
    Sort.UPDATED_DESCENDING: " AND (updated_at, id) < (%(value)s, %(id)s)",
    Sort.TITLE: " AND (lower(title), id) > (lower(%(value)s::text), %(id)s)",
    Sort.TITLE_DESCENDING: " AND (lower(title), id) < (lower(%(value)s::text), %(id)s)",
}

_ORDER: dict[Sort, LiteralString] = {
    Sort.CREATED: " ORDER BY id",
    Sort.CREATED_DESCENDING: " ORDER BY id DESC",
    Sort.UPDATED: " ORDER BY updated_at, id",
    Sort.UPDATED_DESCENDING: " ORDER BY updated_at DESC, id DESC",
    Sort.TITLE: " ORDER BY lower(title), id",
    Sort.TITLE_DESCENDING: " ORDER BY lower(title) DESC, id DESC",
}
