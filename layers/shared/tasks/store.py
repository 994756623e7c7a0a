"""The operations on tasks with their SQL: each is one round trip, and scoped to its user.

The columns are the members of `models.Task`, and what a client may set are the members of
`TaskCreate` and `TaskUpdate`: no statement names them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, LiteralString
from uuid import UUID

from pydantic import BaseModel

from neon import Effect, Statement
from tasks.database import lock_number, run_as
from tasks.errors import TaskNotFoundError, TooManyListsError, VersionMismatchError
from tasks.idempotency import PROCEED, Preconditions, WriteResult, outcome, quota, run_once
from tasks.ids import now, task_id
from tasks.models import (
    DESCRIPTION_LENGTH,
    TASKS,
    TITLE_LENGTH,
    Task,
    TaskCreate,
    TaskUpdate,
)
from tasks.orders import FILTERS
from tasks.paging import Page, PageRequest
from tasks.settings import settings

_NONE = Preconditions()


def list_page(user_id: str, wanted: PageRequest, most_bytes: int | None = None) -> Page:
    """Return one page of the user's tasks.

    `most_bytes` is what the caller has room for: if the texts have more bytes of UTF-8, the page
    ends with the first task that passes it. Raise InvalidCursorError, TooManyListsError when
    `max_lists_per_user` of the user are at work already, and neon.TimedOutError when the page takes
    the database longer than `list_timeout`.
    """
    (rows,) = run_as(
        user_id,
        page_statement(user_id, wanted, most_bytes),
        effect=Effect.READ,
        timeout=settings().list_timeout,
    )
    if rows and rows[0]["id"] is None:
        raise TooManyListsError
    tasks = TASKS.validate_python(rows[: wanted.limit])
    return Page(wanted, tasks, has_more=len(rows) > wanted.limit)


def get(user_id: str, id_: UUID) -> Task:
    """Return the user's task. Raise TaskNotFoundError."""
    (rows,) = run_as(user_id, Statement(_GET, (user_id, id_)), effect=Effect.READ)
    if not rows:
        raise TaskNotFoundError
    return Task.model_validate(rows[0])


def create(
    user_id: str, new: TaskCreate, preconditions: Preconditions = _NONE
) -> WriteResult[Task]:
    """Store a new task.

    Raise QuotaExceededError when the user has `max_tasks_per_user` already. Every write with an
    idempotency key raises it as well when the user has used `max_keys_per_user` within 24 hours.
    """
    row = new_row(user_id, new)
    room = {"user_id": user_id, "quota": settings().max_tasks_per_user}
    created = run_once(
        user_id,
        Statement(_QUOTA, room),
        Statement(_CREATE, row),
        key=preconditions.key,
        scope="create",
        body=new,
        tasks=[row["id"]],
    )
    return _task(created)


def update(
    user_id: str, id_: UUID, change: TaskUpdate, preconditions: Preconditions = _NONE
) -> WriteResult[Task]:
    """Change the members that `change` has. Raise TaskNotFoundError or VersionMismatchError."""
    new = change.changes()
    sql = _update(*assignments(new))
    scope = f"update {id_}"
    return _task(_change(sql, user_id, id_, preconditions, scope=scope, body=change, params=new))


def toggle(user_id: str, id_: UUID, preconditions: Preconditions = _NONE) -> WriteResult[Task]:
    """Flip `completed`. Raise TaskNotFoundError or VersionMismatchError."""
    return _task(_change(_TOGGLE, user_id, id_, preconditions, scope=f"toggle {id_}"))


def delete(user_id: str, id_: UUID, preconditions: Preconditions = _NONE) -> WriteResult[None]:
    """Remove the task. Raise VersionMismatchError, or TaskNotFoundError, the second time too."""
    deleted = _change(_DELETE, user_id, id_, preconditions, scope=f"delete {id_}")
    _accepted(deleted.value)
    return WriteResult(None, deleted.replayed)


def new_row(user_id: str, new: TaskCreate) -> dict[str, Any]:
    """Return what `INSERT` stores of a new task."""
    created_at = now()
    times = {"created_at": created_at, "updated_at": created_at}
    return {**vars(new), **times, "user_id": user_id, "id": task_id(created_at)}


def assignments(names: Iterable[str]) -> list[LiteralString]:
    """Return the SET clause's assignments of these members."""
    return [f"{name} = %({name})s" for name in names]


def update_sql(*assignments: LiteralString) -> LiteralString:
    """Return the beginning of an UPDATE with these assignments; the version always moves."""
    return f"UPDATE tasks SET {', '.join([*assignments, _VERSION])}"


def page_statement(user_id: str, wanted: PageRequest, most_bytes: int | None = None) -> Statement:
    """Return the statement of a page; it reads one row more, to know whether more follow.

    If none of the user's places is free, it reads nothing and returns one row of nulls. (With a
    statement of its own for the places, a short list took a tenth longer.) Raise
    InvalidCursorError.
    """
    filters, order = wanted.filters(), wanted.sort.order
    conditions = [
        "is_free",
        "user_id = %(user_id)s",
        *(FILTERS[name].condition for name in filters),
    ]
    params = {name: FILTERS[name].parameter(value) for name, value in filters.items()}
    if position := wanted.position(user_id):
        conditions.append(order.after)
        params |= position._asdict()
    page = f"{_LIST} WHERE {' AND '.join(conditions)} ORDER BY {order.by} LIMIT %(rows)s"
    if most_bytes is not None and wanted.limit * _MOST_BYTES > most_bytes:
        page, params["bytes"] = _CUT.format(page), most_bytes
    sql = f"""
    SELECT page.* FROM (SELECT {_take_place(settings().max_lists_per_user)} AS is_free) AS place
    LEFT JOIN LATERAL ({page}) AS page ON true
    WHERE page.id IS NOT NULL OR NOT is_free
    """
    params |= {"user_id": user_id, "rows": wanted.limit + 1, "place": _place(user_id)}
    return Statement(sql, params)


@cache
def _take_place(places: int) -> LiteralString:
    """Return the expression that takes one of so many places, and is false if none is free.

    A place is a lock, which is held until the end of the transaction.
    """
    locks = (f"pg_try_advisory_xact_lock(%(place)s::bigint # {n})" for n in range(places))
    return " OR ".join(locks)


@lru_cache(maxsize=1024)
def _place(user_id: str) -> int:
    return lock_number(user_id, "list")


def _change(
    sql: LiteralString,
    user_id: str,
    id_: UUID,
    preconditions: Preconditions,
    *,
    scope: str,
    body: BaseModel | None = None,
    params: Mapping[str, object] = MappingProxyType({}),
) -> WriteResult[str | None]:
    """Change one task by a statement of `_changing`, which has these further `params`."""
    versions = None if preconditions.versions is None else [*preconditions.versions]
    condition = {"versions": versions, "unless": preconditions.unless}
    statement = Statement(sql, {**params, **condition, "user_id": user_id, "id": id_})
    return run_once(user_id, statement, key=preconditions.key, scope=scope, body=body, tasks=[id_])


def _task(written: WriteResult[str | None]) -> WriteResult[Task]:
    """Read the task that a write returned. Raise TaskNotFoundError or VersionMismatchError."""
    return WriteResult(Task.model_validate_json(_accepted(written.value)), written.replayed)


def _accepted(outcome: str | None) -> str:
    """Return the outcome unless it is a refusal. Raise TaskNotFoundError or VersionMismatchError.

    None is the outcome of a write whose task was deleted since.
    """
    if outcome is None or outcome == _MISSING:
        raise TaskNotFoundError
    if outcome == _CHANGED:
        raise VersionMismatchError
    return outcome


def _changing(effect: LiteralString, returning: LiteralString) -> LiteralString:
    """Return the statement that changes one task, if it is there in the version that is asked for.

    The outcome is the row that the statement returns, or the name of a refusal.
    """
    return f"""
    WITH changed AS (
        {effect} WHERE user_id = %(user_id)s AND id = %(id)s AND {PROCEED}
          AND (%(versions)s::timestamptz[] IS NULL
               OR (updated_at = ANY (%(versions)s)) <> %(unless)s::boolean)
        RETURNING {returning}
    )
    SELECT {outcome(_CHANGED_OR_REFUSED)}
    """


def _update(*assignments: LiteralString) -> LiteralString:
    return _changing(update_sql(*assignments), COLUMNS)


_MISSING, _CHANGED = '"missing"', '"changed"'

# EXISTS sees the tasks that were there when the statement began: a task that somebody deleted while
# the statement waited for its row has another version if the client named one, else it is missing.
_CHANGED_OR_REFUSED = f"""
coalesce(
    (SELECT row_to_json(changed)::text FROM changed),
    CASE WHEN %(versions)s::timestamptz[] IS NOT NULL
              AND EXISTS (SELECT FROM tasks WHERE user_id = %(user_id)s AND id = %(id)s)
         THEN '{_CHANGED}' ELSE '{_MISSING}' END
)
"""

COLUMNS: LiteralString = ", ".join(Task.model_fields)

_VERSION = "updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')"

_GET: LiteralString = f"SELECT {COLUMNS} FROM tasks WHERE user_id = %s AND id = %s"

_QUOTA = quota("tasks", "SELECT FROM tasks WHERE user_id = %(user_id)s")

_NEW = ("user_id", "id", *TaskCreate.model_fields, "created_at", "updated_at")

INSERT: LiteralString = f"""
INSERT INTO tasks ({", ".join(_NEW)})
SELECT {", ".join(f"%({name})s" for name in _NEW)}
WHERE {PROCEED}
"""

_CREATE: LiteralString = f"""
WITH created AS ({INSERT} RETURNING {COLUMNS})
SELECT {outcome("(SELECT row_to_json(created)::text FROM created)")}
"""

TOGGLED: LiteralString = "completed = NOT completed"

_TOGGLE = _update(TOGGLED)

_DELETE = _changing("DELETE FROM tasks", "id")

_LIST: LiteralString = f"SELECT {COLUMNS} FROM tasks"

_MOST_BYTES = (TITLE_LENGTH + DESCRIPTION_LENGTH) * 4

# Postgres knows the length of a long text without reading it. The window has the order of the page.
_CUT: LiteralString = f"""
SELECT {COLUMNS} FROM (
    SELECT *, sum(octet_length(title) + coalesce(octet_length(description), 0))
              OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
    FROM ({{}}) AS page
) AS page
WHERE bytes_before <= %(bytes)s OR bytes_before IS NULL
"""
