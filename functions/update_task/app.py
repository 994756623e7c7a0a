"""PUT /api/{user_id}/tasks/{task_id}: change what is named, leave the rest."""

from typing import Annotated

from tasks import Task, TaskUpdate, store, warm
from web import Body, TaskId, UserId, api


@api.put(
    "/api/<user_id>/tasks/<task_id>",
    summary="Update a task",
    operation_id="updateTask",
)
def update_task(user_id: UserId, task_id: TaskId, change: Annotated[TaskUpdate, Body()]) -> Task:
    """Change the members that are present and not null; an empty description clears it."""
    return store.update(user_id, task_id, change)


handler = api
warm()
