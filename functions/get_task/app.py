"""GET /api/{user_id}/tasks/{task_id}: one task."""

import startup  # first of all
from tasks import Task, store
from web import IfNoneMatch, Response, TaskId, UserId, api, found


@api.get("/api/{user_id}/tasks/{task_id}", summary="Get a task", operation="getTask")
def get_task(user_id: UserId, task_id: TaskId, if_none_match: IfNoneMatch = None) -> Response[Task]:
    """The task; 404 when there is none or it is somebody else's."""
    return found(store.get(user_id, task_id), if_none_match)


handler = api
startup.finish(database=True)
