"""POST /api/{user_id}/tasks: a new task."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response

from tasks import Task, TaskCreate, store, warm
from web import Body, IdempotencyKey, UserId, api, created, terms


@api.post(
    "/api/<user_id>/tasks",
    summary="Create a task",
    operation_id="createTask",
    status_code=201,
)
def create_task(
    user_id: UserId, task: Annotated[TaskCreate, Body()], key: IdempotencyKey = None
) -> Response[Task]:
    """Store a new, pending task; the answer's `Location` says where it is."""
    return created(store.create(user_id, task, terms(key=key)))


handler = api
warm()
