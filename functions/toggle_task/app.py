"""PATCH /api/{user_id}/tasks/{task_id}/complete: flip `completed`."""

from tasks import Task, store, warm
from web import TaskId, UserId, api


@api.patch(
    "/api/<user_id>/tasks/<task_id>/complete",
    summary="Toggle a task's completion",
    operation_id="toggleTask",
)
def toggle_task(user_id: UserId, task_id: TaskId) -> Task:
    """Complete a pending task, reopen a completed one; a request body is ignored."""
    return store.toggle(user_id, task_id)


handler = api
warm()
