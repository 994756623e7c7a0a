"""DELETE /api/{user_id}/tasks/{task_id}: remove the task."""

import startup
from tasks import store
from web.endpoint import endpoint
from web.parameters import IdempotencyKey, IfMatch, TaskId, Unless, UserId
from web.representations import Deleted, deleted, preconditions
from web.response import Response


@endpoint(
    "DELETE", "/api/{user_id}/tasks/{task_id}", operation="deleteTask", summary="Delete a task"
)
def handler(
    user_id: UserId,
    task_id: TaskId,
    if_match: IfMatch = None,
    unless: Unless = None,
    key: IdempotencyKey = None,
) -> Response[Deleted]:
    """Remove the task; the second time it is not found."""
    return deleted(store.delete(user_id, task_id, preconditions(if_match, unless, key)))


startup.finish()
