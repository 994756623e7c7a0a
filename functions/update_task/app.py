"""PUT /api/{user_id}/tasks/{task_id}: change what is named, leave the rest."""

from typing import Annotated

import startup  # first of all
from tasks import Task, TaskUpdate, store
from web import Body, IdempotencyKey, IfMatch, Response, TaskId, UserId, api, changed, terms


@api.put("/api/{user_id}/tasks/{task_id}", summary="Update a task", operation="updateTask")
def update_task(
    user_id: UserId,
    task_id: TaskId,
    change: Annotated[TaskUpdate, Body],
    if_match: IfMatch = None,
    key: IdempotencyKey = None,
) -> Response[Task]:
    """Change the members that are present and not null; an empty description clears it."""
    return changed(store.update(user_id, task_id, change, terms(if_match, key)))


handler = api
startup.finish(database=True)
