"""GET /api/{user_id}/tasks/{task_id}: one task."""

import startup
from tasks import store
from tasks.models import Task
from web.endpoint import endpoint
from web.parameters import IfMatch, IfNoneMatch, TaskId, UserId
from web.representations import found
from web.response import Response


@endpoint("GET", "/api/{user_id}/tasks/{task_id}", operation="getTask", summary="Get a task")
def handler(
    user_id: UserId, task_id: TaskId, if_match: IfMatch = None, if_none_match: IfNoneMatch = None
) -> Response[Task]:
    """The task; 404 when there is none or it is somebody else's."""
    return found(store.get(user_id, task_id), if_match, if_none_match)


startup.finish()
