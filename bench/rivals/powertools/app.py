"""The task API by Powertools' resolver with validation, as its documentation shows, on psycopg."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any, LiteralString
from uuid import UUID

import psycopg
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Body, Path
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext
from models import WITHOUT_NUL, TaskCreate, TaskRead, TaskUpdate, uuid7
from psycopg.rows import dict_row

logger = Logger()
app = APIGatewayHttpResolver(enable_validation=True)

TASKS = "/api/<user_id>/tasks"
TASK = TASKS + "/<task_id>"
UserId = Annotated[str, Path(min_length=1, max_length=255, pattern=WITHOUT_NUL)]
TaskId = Annotated[UUID, Path()]
COLUMNS: LiteralString = "id, user_id, title, description, completed, created_at, updated_at"


# --- the database ---


def _connect() -> psycopg.Connection[dict[str, Any]]:
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, row_factory=dict_row)


# One connection for the life of the environment, opened during INIT.
_connection = _connect()


@contextmanager
def acting_as(user_id: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """Open a transaction that sees only the user's rows (row-level security)."""
    global _connection
    if _connection.closed:
        _connection = _connect()
    with _connection.transaction():
        _connection.execute(
            "SELECT set_config('role', 'rival_api', true), set_config('app.user_id', %s, true)",
            [user_id],
        )
        yield _connection


def one(user_id: str, sql: LiteralString, parameters: list[object]) -> TaskRead:
    """Run a statement and return the task of its only row. Raise NotFoundError without one."""
    with acting_as(user_id) as connection:
        row = connection.execute(sql, parameters).fetchone()
    if row is None:
        raise NotFoundError("Task not found")
    return TaskRead.model_validate(row)


# --- the routes ---


@app.get(TASKS)
def list_tasks(user_id: UserId) -> list[TaskRead]:
    with acting_as(user_id) as connection:
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM tasks WHERE user_id = %s ORDER BY id LIMIT 1000",
            [user_id],
        ).fetchall()
    return [TaskRead.model_validate(row) for row in rows]


@app.post(TASKS)
def create_task(user_id: UserId, new: Annotated[TaskCreate, Body()]) -> Response[TaskRead]:
    task = one(
        user_id,
        "INSERT INTO tasks (user_id, id, title, description) VALUES (%s, %s, %s, %s)"
        " RETURNING " + COLUMNS,
        [user_id, uuid7(), new.title, new.description],
    )
    return Response(HTTPStatus.CREATED, content_types.APPLICATION_JSON, task)


@app.get(TASK)
def get_task(user_id: UserId, task_id: TaskId) -> TaskRead:
    return one(
        user_id,
        f"SELECT {COLUMNS} FROM tasks WHERE user_id = %s AND id = %s",
        [user_id, task_id],
    )


@app.put(TASK)
def update_task(
    user_id: UserId, task_id: TaskId, change: Annotated[TaskUpdate, Body()]
) -> TaskRead:
    return one(
        user_id,
        "UPDATE tasks SET title = coalesce(%s, title), description = coalesce(%s, description),"
        " completed = coalesce(%s, completed), updated_at = clock_timestamp()"
        " WHERE user_id = %s AND id = %s"
        " RETURNING " + COLUMNS,
        [change.title, change.description, change.completed, user_id, task_id],
    )


@app.patch(TASK + "/complete")
def toggle_task(user_id: UserId, task_id: TaskId) -> TaskRead:
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
        raise NotFoundError("Task not found")
    return {"message": "Task deleted successfully"}


# --- identity, errors, the log ---


def authorized(app: APIGatewayHttpResolver, next_middleware: NextMiddleware) -> Response:
    """Admit the caller whom the gateway's authorizer identified to their own path."""
    context = app.current_event.raw_event["requestContext"]
    claims = context.get("authorizer", {}).get("lambda", {})
    if not claims.get("sub") or not time.time() < float(claims.get("exp", 0)):
        return _error(401, "Send a valid token")
    if claims["sub"] != app.current_event.path_parameters.get("user_id"):
        return _error(403, "The token belongs to another user than the path")
    return next_middleware(app)


app.use(middlewares=[authorized])


@app.exception_handler(NotFoundError)
def not_found(error: NotFoundError) -> Response:
    return _error(404, error.msg)


@app.exception_handler(RequestValidationError)
def invalid(error: RequestValidationError) -> Response:
    errors = error.errors()
    return _error(422, [{"type": e["type"], "loc": e["loc"], "msg": e["msg"]} for e in errors])


def _error(status: int, detail: object) -> Response:
    return Response(status, content_types.APPLICATION_JSON, {"detail": detail})


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request and log one line about it."""
    started = time.perf_counter()
    answer = app.resolve(event, context)
    milliseconds = round((time.perf_counter() - started) * 1000, 1)
    logger.info("request", route=event["routeKey"], status=answer["statusCode"], ms=milliseconds)
    return answer
