"""Many operations on tasks, all or nothing, in one transaction and one round trip.

1. `_LOCK` locks the tasks that the operations name, in the order of their ids, so that no two
   batches wait for each other.
2. `_CHECK` finds the first operation that cannot be done. What it finds stays true: nobody else can
   change those tasks any more, and what the batch itself does to them is known beforehand.
3. One statement for each operation, in their order, adds the task to the outcome.
4. `_OUTCOME` returns the outcome: a list of tasks, or the refusal.
5. After the outcome was recorded, `_DELETE` deletes, so the record loses the texts of those tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, LiteralString
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WrapValidator
from pydantic_core import PydanticKnownError

from neon import Statement
from tasks.errors import (
    OperationRefusedError,
    QuotaExceededError,
    TaskNotFoundError,
    VersionMismatchError,
)
from tasks.idempotency import PROCEED, WriteResult, outcome, run_once
from tasks.models import Task, TaskCreate, TaskId, TaskUpdate
from tasks.settings import settings
from tasks.store import COLUMNS, INSERT, TOGGLED, assignments, new_row, update_sql

MOST_OPERATIONS = 50

Versions = frozenset[datetime] | None
"""The versions that an operation may change, as `Preconditions` has them."""


class CreateOperation(BaseModel, defer_build=True):
    """Create a task."""

    op: Literal["create"]
    task: TaskCreate


class _Change(BaseModel, defer_build=True):
    id: TaskId
    if_match: Annotated[str | None, Field(description="What the header If-Match would hold.")] = (
        None
    )


class UpdateOperation(_Change, defer_build=True):
    """Change the members of the task that are present and not null."""

    op: Literal["update"]
    task: TaskUpdate


class ToggleOperation(_Change, defer_build=True):
    """Complete a pending task, reopen a completed one."""

    op: Literal["toggle"]


class DeleteOperation(_Change, defer_build=True):
    """Remove the task."""

    op: Literal["delete"]


_MODELS: dict[str, type[BaseModel]] = {
    "create": CreateOperation,
    "update": UpdateOperation,
    "toggle": ToggleOperation,
    "delete": DeleteOperation,
}


class _Operation(BaseModel, defer_build=True):
    op: Literal["create", "update", "toggle", "delete"]


def _read(value: object, _union: object) -> BaseModel:
    """Read an operation by its `op`, which the union would add to the place of every error."""
    if not isinstance(value, dict):
        raise PydanticKnownError("dict_type")
    return _MODELS[_Operation.model_validate(value).op].model_validate(value)


Operation = Annotated[
    CreateOperation | UpdateOperation | ToggleOperation | DeleteOperation,
    Field(discriminator="op"),
    WrapValidator(_read),
]


class Batch(BaseModel, defer_build=True):
    """Operations that are all done, in their order, or none of them."""

    operations: Annotated[list[Operation], Field(min_length=1, max_length=MOST_OPERATIONS)]


class _Refusal(BaseModel):
    """The first operation that cannot be done, and why."""

    operation: int
    reason: Literal["missing", "changed", "full"]

    def error(self) -> OperationRefusedError:
        reasons = {
            "missing": TaskNotFoundError(),
            "changed": VersionMismatchError(),
            "full": QuotaExceededError("tasks", settings().max_tasks_per_user),
        }
        return OperationRefusedError(self.operation, reasons[self.reason])


_OUTCOMES: TypeAdapter[list[Task | None] | _Refusal] = TypeAdapter(
    list[Task | None] | _Refusal, config=ConfigDict(defer_build=True)
)


def run(
    user_id: str, batch: Batch, versions: Sequence[Versions], key: str | None = None
) -> WriteResult[list[Task | None]]:
    """Do all operations, or none; return for each the task as it left it, None for a deletion.

    `versions` has those that each operation may change. A replay has None for tasks that were
    deleted since, by the batch itself or later. Raise OperationRefusedError, and what `run_once`
    raises.
    """
    writes = [
        _write(user_id, each) for each in batch.operations if not isinstance(each, DeleteOperation)
    ]
    named = [each.id for each in batch.operations if not isinstance(each, CreateOperation)]
    deleted = [each.id for each in batch.operations if isinstance(each, DeleteOperation)]
    plan = json.dumps(list(_plan(batch, versions)), default=str)
    quota = settings().max_tasks_per_user
    written = run_once(
        user_id,
        Statement(_LOCK, {"user_id": user_id, "ids": named}),
        Statement(_CHECK, {"user_id": user_id, "plan": plan, "quota": quota}),
        *(statement for _, statement in writes),
        Statement(_OUTCOME),
        key=key,
        scope="batch",
        body=batch,
        tasks=[id_ for id_, _ in writes],
        afterwards=[Statement(_DELETE, {"user_id": user_id, "ids": deleted})] if deleted else [],
    )
    return WriteResult(_by_operation(batch, written.value or "[]"), written.replayed)


def _write(
    user_id: str, operation: CreateOperation | UpdateOperation | ToggleOperation
) -> tuple[UUID, Statement]:
    """Return the id of the operation's task, and the statement."""
    if isinstance(operation, CreateOperation):
        row = new_row(user_id, operation.task)
        return row["id"], Statement(_CREATE, row)
    target = {"user_id": user_id, "id": operation.id}
    if isinstance(operation, ToggleOperation):
        return operation.id, Statement(_TOGGLE, target)
    new = operation.task.changes()
    return operation.id, Statement(_update(*assignments(new)), {**new, **target})


def _plan(batch: Batch, versions: Sequence[Versions]) -> Iterator[dict[str, Any]]:
    """Yield what `_CHECK` has to know of each operation, and of those before it.

    `added` is the number of tasks that they add. A task that they change or delete has no version
    that the client could name.
    """
    added, changed, deleted = 0, set(), set()
    for place, (operation, wanted) in enumerate(zip(batch.operations, versions, strict=True)):
        if isinstance(operation, CreateOperation):
            yield {"place": place, "added": added}
            added += 1
            continue
        id_ = operation.id
        yield {
            "place": place,
            "id": id_,
            "versions": None if wanted is None else [*wanted],
            "is_changed": id_ in changed,
            "is_deleted": id_ in deleted,
        }
        changed.add(id_)
        if isinstance(operation, DeleteOperation):
            deleted.add(id_)
            added -= 1


def _by_operation(batch: Batch, outcome: str) -> list[Task | None]:
    """Return each operation's task from the outcome. Raise OperationRefusedError for a refusal."""
    found = _OUTCOMES.validate_json(outcome)
    if isinstance(found, _Refusal):
        raise found.error()
    tasks = iter(found)
    return [
        None if isinstance(each, DeleteOperation) else next(tasks, None)
        for each in batch.operations
    ]


def _adding(effect: LiteralString) -> LiteralString:
    """Return the statement that has this effect on one task and adds the task to the outcome."""
    return f"""
    WITH done AS ({effect} RETURNING {COLUMNS})
    SELECT length(set_config('app.outcome', concat_ws(
        ',', nullif(current_setting('app.outcome', true), ''), row_to_json(done)::text
    ), true))
    FROM done
    """


def _update(*changes: LiteralString) -> LiteralString:
    where = f"WHERE user_id = %(user_id)s AND id = %(id)s AND {PROCEED}"
    return _adding(f"{update_sql(*changes)} {where}")


_CREATE = _adding(INSERT)

_TOGGLE = _update(TOGGLED)

_DELETE = f"""
DELETE FROM tasks WHERE user_id = %(user_id)s AND id = ANY (%(ids)s::uuid[]) AND {PROCEED}
"""

_LOCK = f"""
SELECT FROM tasks WHERE user_id = %(user_id)s AND id = ANY (%(ids)s::uuid[]) AND {PROCEED}
ORDER BY id FOR UPDATE
"""

# It counts no more tasks than it has to, and a batch deletes no more than that.
_CHECK = f"""
SELECT set_config('app.proceed', 'no', true),
       set_config('app.outcome', row_to_json(first)::text, true)
FROM (
    SELECT place AS operation, reason
    FROM json_to_recordset(%(plan)s::json) AS planned (
        place integer, added integer, id uuid, versions timestamptz[],
        is_changed boolean, is_deleted boolean
    )
    LEFT JOIN tasks AS task ON user_id = %(user_id)s AND task.id = planned.id
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN added IS NOT NULL THEN CASE WHEN %(quota)s::bigint <= added + (
                SELECT count(*) FROM (
                    SELECT FROM tasks WHERE user_id = %(user_id)s
                    LIMIT %(quota)s::bigint + {MOST_OPERATIONS}
                ) AS counted
            ) THEN 'full' END
            WHEN task.id IS NULL OR is_deleted THEN 'missing'
            WHEN versions IS NOT NULL AND (is_changed OR task.updated_at <> ALL (versions))
                THEN 'changed'
        END AS reason
    ) AS checked
    WHERE reason IS NOT NULL AND {PROCEED}
    ORDER BY place
    LIMIT 1
) AS first
"""

_OUTCOME = f"""
SELECT {
    outcome(f'''
CASE WHEN {PROCEED} THEN concat('[', current_setting('app.outcome', true), ']')
     ELSE current_setting('app.outcome', true) END
''')
}
"""
