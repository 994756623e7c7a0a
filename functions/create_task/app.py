"""POST /api/{user_id}/tasks: a new task."""

from typing import Annotated

import startup
from tasks import store
from tasks.models import Task, TaskCreate
from web.endpoint import endpoint
from web.parameters import Body, IdempotencyKey, UserId
from web.representations import created, preconditions
from web.response import Response


@endpoint(
    "POST", "/api/{user_id}/tasks", operation="createTask", summary="Create a task", status=201
)
def handler(
    user_id: UserId, task: Annotated[TaskCreate, Body], key: IdempotencyKey = None
) -> Response[Task]:
    """Store a new, pending task; the answer's `Location` says where it is."""
    written = store.create(user_id, task, preconditions(key=key))
    return created(written, handler.url(user_id=user_id))


startup.finish()
