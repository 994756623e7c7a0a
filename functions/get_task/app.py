"""GET /api/{user_id}/tasks/{task_id}: one task."""

from tasks import Task, store, warm
from web import TaskId, UserId, api


@api.get(
    "/api/<user_id>/tasks/<task_id>",
    summary="Get a task",
    operation_id="getTask",
)
def get_task(user_id: UserId, task_id: TaskId) -> Task:
    """The task; 404 when there is none or it is somebody else's."""
    return store.get(user_id, task_id)


handler = api
warm()
