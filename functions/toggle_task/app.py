"""PATCH /api/{user_id}/tasks/{task_id}/complete: flip `completed`."""

import startup  # first of all
from tasks import Task, store
from web import IdempotencyKey, IfMatch, Response, TaskId, UserId, api, changed, terms


@api.patch(
    "/api/{user_id}/tasks/{task_id}/complete",
    summary="Toggle a task's completion",
    operation="toggleTask",
)
def toggle_task(
    user_id: UserId, task_id: TaskId, if_match: IfMatch = None, key: IdempotencyKey = None
) -> Response[Task]:
    """Complete a pending task, reopen a completed one; a request body is ignored."""
    return changed(store.toggle(user_id, task_id, terms(if_match, key)))


handler = api
startup.finish(database=True)
