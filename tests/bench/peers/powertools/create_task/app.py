"""POST /api/{user_id}/tasks by Powertools."""

from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from api import Task, TaskCreate, UserId, acting_as, app, found, handler, uuid7
from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.openapi.params import Body

__all__ = ["handler"]


@app.post("/api/<user_id>/tasks")
def create_task(user_id: UserId, new: Annotated[TaskCreate, Body()]) -> Response[Task]:
    """A new, pending task."""
    with acting_as(user_id) as connection:
        row = connection.execute(
            """
            INSERT INTO tasks (user_id, id, title, description)
            VALUES (%s, %s, %s, %s)
            RETURNING id, user_id, title, description, completed, created_at, updated_at
            """,
            [user_id, uuid7(), new.title, new.description],
        ).fetchone()
    task = found(row)
    location = f"/api/{quote(user_id, safe='')}/tasks/{task.id}"
    headers = {"Location": location}
    return Response(HTTPStatus.CREATED, content_types.APPLICATION_JSON, task, headers)
