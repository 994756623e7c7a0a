"""What the routes answer beside tasks."""

from typing import Literal
from urllib.parse import quote

from aws_lambda_powertools.event_handler import Response
from pydantic import BaseModel

from tasks import Task


class Deleted(BaseModel):
    """The answer to a deletion; clients parse it."""

    message: Literal["Task deleted successfully"] = "Task deleted successfully"


class Health(BaseModel):
    """The answer of a service that works."""

    status: Literal["ok"] = "ok"


def created(task: Task) -> Response[Task]:
    """201 with the task and where it can be found."""
    location = f"/api/{quote(task.user_id, safe='')}/tasks/{task.id}"
    return Response(
        status_code=201,
        content_type="application/json",
        headers={"Location": location},
        body=task,
    )
