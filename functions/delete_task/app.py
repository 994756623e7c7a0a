"""DELETE /api/{user_id}/tasks/{task_id}: remove the task."""

from tasks import store, warm
from web import Deleted, TaskId, UserId, api


@api.delete(
    "/api/<user_id>/tasks/<task_id>",
    summary="Delete a task",
    operation_id="deleteTask",
)
def delete_task(user_id: UserId, task_id: TaskId) -> Deleted:
    """Remove the task; the second time it is not found."""
    store.delete(user_id, task_id)
    return Deleted()


handler = api
warm()
