"""POST /api/{user_id}/tasks: a new task."""

from typing import Annotated

import startup  # first of all
from tasks import Task, TaskCreate, store
from web import Body, IdempotencyKey, Response, UserId, api, created, terms


@api.post(
    "/api/{user_id}/tasks",
    summary="Create a task",
    operation="createTask",
    status=201,
)
def create_task(
    user_id: UserId, task: Annotated[TaskCreate, Body], key: IdempotencyKey = None
) -> Response[Task]:
    """Store a new, pending task; the answer's `Location` says where it is."""
    return created(store.create(user_id, task, terms(key=key)))


handler = api
startup.finish(database=True)
