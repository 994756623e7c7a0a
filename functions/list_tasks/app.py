"""GET /api/{user_id}/tasks: all tasks of the user, oldest first."""

from tasks import Task, store, warm
from web import UserId, api


@api.get("/api/<user_id>/tasks", summary="List the user's tasks", operation_id="listTasks")
def list_tasks(user_id: UserId) -> list[Task]:
    """All tasks of the user in the order of their creation; an empty array for none."""
    return store.list_all(user_id)


handler = api
warm()
