"""PUT /api/{user_id}/tasks/{task_id}: change what is named, leave the rest."""

from typing import Annotated

import startup
from tasks import store
from tasks.models import Task, TaskUpdate
from web.endpoint import endpoint
from web.parameters import Body, IdempotencyKey, IfMatch, TaskId, Unless, UserId
from web.representations import changed, preconditions
from web.response import Response


@endpoint("PUT", "/api/{user_id}/tasks/{task_id}", operation="updateTask", summary="Update a task")
def handler(
    user_id: UserId,
    task_id: TaskId,
    change: Annotated[TaskUpdate, Body],
    if_match: IfMatch = None,
    unless: Unless = None,
    key: IdempotencyKey = None,
) -> Response[Task]:
    """Change the members that are present and not null; an empty description clears it."""
    return changed(store.update(user_id, task_id, change, preconditions(if_match, unless, key)))


startup.finish()
