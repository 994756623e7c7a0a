"""The task API by Powertools' resolver with validation, as its documentation shows, on psycopg."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import Annotated, Any, LiteralString
from urllib.parse import quote
from uuid import UUID

import psycopg
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Body, Path, Query
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext
from fields import WITHOUT_NUL, Description, Instant, Title, uuid7
from psycopg.rows import dict_row
from pydantic import BaseModel

logger = Logger()
app = APIGatewayHttpResolver(enable_validation=True)

TASKS = "/api/<user_id>/tasks"
TASK = TASKS + "/<task_id>"
UserId = Annotated[str, Path(min_length=1, max_length=255, pattern=WITHOUT_NUL)]
TaskId = Annotated[UUID, Path()]
Limit = Annotated[int, Query(ge=1, le=1000)]
COLUMNS: LiteralString = "id, user_id, title, description, completed, created_at, updated_at"


class Task(BaseModel):
    """A task in a response."""

    id: UUID
    user_id: str
    title: str
    description: str | None
    completed: bool
    created_at: Instant
    updated_at: Instant


class TaskCreate(BaseModel):
    """The body that creates a task."""

    title: Title
    description: Description | None = None


class TaskUpdate(BaseModel):
    """The body that changes a task; an absent or null member changes nothing."""

    title: Title | None = None
    description: Description | None = None
    completed: bool | None = None


class TaskNotFoundError(Exception):
    """There is no such task, or it belongs to somebody else."""


# --- the database ---


def _connect() -> psycopg.Connection[dict[str, Any]]:
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, row_factory=dict_row)


# One connection for the life of the environment, opened during INIT.
_connection = _connect()


def _alive() -> psycopg.Connection[dict[str, Any]]:
    global _connection
    if _connection.closed:
        _connection = _connect()
    return _connection


@contextmanager
def acting_as(user_id: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """Open a transaction that sees only the user's rows (row-level security)."""
    with ExitStack() as stack:
        try:
            stack.enter_context(_alive().transaction())
        except psycopg.OperationalError:  # it died while the environment was frozen
            stack.enter_context(_alive().transaction())
        _connection.execute(
            "SELECT set_config('role', 'rival_api', true), set_config('app.user_id', %s, true)",
            [user_id],
        )
        yield _connection


def one(user_id: str, sql: LiteralString, parameters: list[object]) -> Task:
    """Run a statement and return the task of its only row. Raise TaskNotFoundError without one."""
    with acting_as(user_id) as connection:
        row = connection.execute(sql, parameters).fetchone()
    if row is None:
        raise TaskNotFoundError
    return Task.model_validate(row)


# --- the routes ---


@app.get(TASKS)
def list_tasks(user_id: UserId, limit: Limit = 1000) -> list[Task]:
    with acting_as(user_id) as connection:
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM tasks WHERE user_id = %s ORDER BY id LIMIT %s",
            [user_id, limit],
        ).fetchall()
    return [Task.model_validate(row) for row in rows]


@app.post(TASKS)
def create_task(user_id: UserId, new: Annotated[TaskCreate, Body()]) -> Response[Task]:
    task = one(
        user_id,
        "INSERT INTO tasks (user_id, id, title, description) VALUES (%s, %s, %s, %s)"
        " RETURNING " + COLUMNS,
        [user_id, uuid7(), new.title, new.description],
    )
    headers = {"Location": f"/api/{quote(user_id, safe='')}/tasks/{task.id}"}
    return Response(HTTPStatus.CREATED, content_types.APPLICATION_JSON, task, headers)


@app.get(TASK)
def get_task(user_id: UserId, task_id: TaskId) -> Task:
    return one(
        user_id,
        f"SELECT {COLUMNS} FROM tasks WHERE user_id = %s AND id = %s",
        [user_id, task_id],
    )


@app.put(TASK)
def update_task(user_id: UserId, task_id: TaskId, change: Annotated[TaskUpdate, Body()]) -> Task:
    return one(
        user_id,
        "UPDATE tasks SET title = coalesce(%s, title), description = coalesce(%s, description),"
        " completed = coalesce(%s, completed), updated_at = clock_timestamp()"
        " WHERE user_id = %s AND id = %s"
        " RETURNING " + COLUMNS,
        [change.title, change.description, change.completed, user_id, task_id],
    )


@app.patch(TASK + "/complete")
def toggle_task(user_id: UserId, task_id: TaskId) -> Task:
    return one(
        user_id,
        "UPDATE tasks SET completed = NOT completed, updated_at = clock_timestamp()"
        " WHERE user_id = %s AND id = %s"
        " RETURNING " + COLUMNS,
        [user_id, task_id],
    )


@app.delete(TASK)
def delete_task(user_id: UserId, task_id: TaskId) -> dict[str, str]:
    with acting_as(user_id) as connection:
        gone = connection.execute(
            "DELETE FROM tasks WHERE user_id = %s AND id = %s", [user_id, task_id]
        ).rowcount
    if not gone:
        raise TaskNotFoundError
    return {"message": "Task deleted successfully"}


# --- identity, errors, the log ---


def authorized(app: APIGatewayHttpResolver, next_middleware: NextMiddleware) -> Response:
    """Admit the caller whom the gateway's authorizer identified to their own path."""
    context = app.current_event.raw_event["requestContext"]
    claims = context.get("authorizer", {}).get("lambda", {})
    if not claims.get("sub") or not time.time() < float(claims.get("exp", 0)):
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        return _error(401, "Send a valid token", challenge)
    if claims["sub"] != app.current_event.path_parameters.get("user_id"):
        return _error(403, "The token belongs to another user than the path")
    return next_middleware(app)


app.use(middlewares=[authorized])


@app.exception_handler(TaskNotFoundError)
def not_found(_: TaskNotFoundError) -> Response:
    return _error(404, "Task not found")


@app.exception_handler(RequestValidationError)
def invalid(error: RequestValidationError) -> Response:
    errors = error.errors()
    return _error(422, [{"type": e["type"], "loc": e["loc"], "msg": e["msg"]} for e in errors])


def _error(status: int, detail: object, headers: dict[str, str] | None = None) -> Response:
    return Response(status, content_types.APPLICATION_JSON, {"detail": detail}, headers)


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request and log one line about it."""
    started = time.perf_counter()
    answer = app.resolve(event, context)
    milliseconds = round((time.perf_counter() - started) * 1000, 1)
    logger.info("request", route=event["routeKey"], status=answer["statusCode"], ms=milliseconds)
    return answer
