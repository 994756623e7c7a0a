"""PATCH /api/{user_id}/tasks/{task_id}/complete: flip `completed`."""

import startup
from tasks import store
from tasks.models import Task
from web.endpoint import endpoint
from web.parameters import IdempotencyKey, IfMatch, TaskId, Unless, UserId
from web.representations import changed, preconditions
from web.response import Response


@endpoint(
    "PATCH",
    "/api/{user_id}/tasks/{task_id}/complete",
    operation="toggleTask",
    summary="Toggle a task's completion",
)
def handler(
    user_id: UserId,
    task_id: TaskId,
    if_match: IfMatch = None,
    unless: Unless = None,
    key: IdempotencyKey = None,
) -> Response[Task]:
    """Complete a pending task, reopen a completed one; a request body is ignored."""
    return changed(store.toggle(user_id, task_id, preconditions(if_match, unless, key)))


startup.finish()
