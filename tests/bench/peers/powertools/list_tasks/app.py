"""GET /api/{user_id}/tasks by Powertools."""

from typing import Annotated

from api import Task, UserId, acting_as, app, handler
from aws_lambda_powertools.event_handler.openapi.params import Query

__all__ = ["handler"]

Limit = Annotated[int, Query(ge=1, le=1000)]


@app.get("/api/<user_id>/tasks")
def list_tasks(user_id: UserId, limit: Limit = 1000) -> list[Task]:
    """The user's tasks, oldest first."""
    with acting_as(user_id) as connection:
        rows = connection.execute(
            """
            SELECT id, user_id, title, description, completed, created_at, updated_at
            FROM tasks
            WHERE user_id = %s
            ORDER BY id
            LIMIT %s
            """,
            [user_id, limit],
        ).fetchall()
    return [Task.model_validate(row) for row in rows]
