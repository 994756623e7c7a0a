"""PUT /api/{user_id}/tasks/{task_id} by Powertools."""

from typing import Annotated

from api import Task, TaskId, TaskUpdate, UserId, acting_as, app, found, handler
from aws_lambda_powertools.event_handler.openapi.params import Body

__all__ = ["handler"]


@app.put("/api/<user_id>/tasks/<task_id>")
def update_task(user_id: UserId, task_id: TaskId, change: Annotated[TaskUpdate, Body()]) -> Task:
    """Change what is present and not null."""
    with acting_as(user_id) as connection:
        row = connection.execute(
            """
            UPDATE tasks
            SET title = coalesce(%s, title),
                description = coalesce(%s, description),
                completed = coalesce(%s, completed),
                updated_at = clock_timestamp()
            WHERE user_id = %s AND id = %s
            RETURNING id, user_id, title, description, completed, created_at, updated_at
            """,
            [change.title, change.description, change.completed, user_id, task_id],
        ).fetchone()
    return found(row)
