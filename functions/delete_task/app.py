"""DELETE /api/{user_id}/tasks/{task_id}: remove the task."""

import startup  # first of all
from tasks import store
from web import Deleted, IdempotencyKey, IfMatch, Response, TaskId, UserId, api, deleted, terms


@api.delete("/api/{user_id}/tasks/{task_id}", summary="Delete a task", operation="deleteTask")
def delete_task(
    user_id: UserId, task_id: TaskId, if_match: IfMatch = None, key: IdempotencyKey = None
) -> Response[Deleted]:
    """Remove the task; the second time it is not found."""
    return deleted(store.delete(user_id, task_id, terms(if_match, key)))


handler = api
startup.finish(database=True)
