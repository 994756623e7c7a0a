"""What all functions share: the resolver with its identity and errors, the models, the database."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Path
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.typing import LambdaContext
from psycopg.rows import dict_row
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError, PydanticKnownError

logger = Logger()
app = APIGatewayHttpResolver(enable_validation=True)

# --- models ---


def _without_nul(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("string_nul", "String should not contain NUL characters")
    return value


def _trimmed(value: str) -> str:
    trimmed = value.strip()
    if not trimmed:
        raise PydanticKnownError("string_too_short", {"min_length": 1})
    return trimmed


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


NoNul = AfterValidator(_without_nul)
Instant = Annotated[datetime, AfterValidator(_utc)]
Title = Annotated[str, Field(min_length=1, max_length=500), NoNul, AfterValidator(_trimmed)]
Description = Annotated[str, Field(max_length=5000), NoNul]
UserId = Annotated[Annotated[str, NoNul], Path(min_length=1, max_length=255)]
TaskId = Annotated[UUID, Path()]


class Task(BaseModel):
    """A task in an answer."""

    id: UUID
    user_id: str
    title: str
    description: str | None
    completed: bool
    created_at: Instant
    updated_at: Instant


class TaskCreate(BaseModel):
    """What a client says to create a task."""

    title: Title
    description: Description | None = None


class TaskUpdate(BaseModel):
    """What a client says to change a task; an absent or null member changes nothing."""

    title: Title | None = None
    description: Description | None = None
    completed: bool | None = None


def uuid7() -> UUID:
    """A new id that sorts by the time it was made at (RFC 9562; Python 3.14 brings its own)."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    value = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
    return UUID(int=value)


# --- the database ---


def _connect() -> psycopg.Connection[dict[str, Any]]:
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, row_factory=dict_row)


# One connection for the life of the environment, made in Lambda's INIT.
_connection = _connect()


def _alive() -> psycopg.Connection[dict[str, Any]]:
    global _connection
    if _connection.closed:
        _connection = _connect()
    return _connection


@contextmanager
def acting_as(user_id: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A transaction in which only the user's rows are there (row-level security)."""
    with ExitStack() as stack:
        try:
            stack.enter_context(_alive().transaction())
        except psycopg.OperationalError:  # it died while we were frozen; nothing has been done yet
            stack.enter_context(_alive().transaction())
        _connection.execute(
            "SELECT set_config('role', 'task_api', true), set_config('app.user_id', %s, true)",
            [user_id],
        )
        yield _connection


# --- identity and errors ---


class TaskNotFound(Exception):
    """There is no such task, or it is somebody else's."""


def found(row: dict[str, Any] | None) -> Task:
    """The task of a row. Raises TaskNotFound when there is none."""
    if row is None:
        raise TaskNotFound
    return Task.model_validate(row)


def authorized(app: APIGatewayHttpResolver, next_middleware: NextMiddleware) -> Response:
    """Let the caller whom the gateway's authorizer found act under their own path."""
    context = app.current_event.raw_event["requestContext"]
    claims = context.get("authorizer", {}).get("lambda", {})
    if not claims.get("sub") or not time.time() < float(claims.get("exp", 0)):
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        return _error(401, "Send a valid token", challenge)
    if claims["sub"] != app.current_event.path_parameters.get("user_id"):
        return _error(403, "The token belongs to another user than the path")
    return next_middleware(app)


app.use(middlewares=[authorized])


@app.exception_handler(TaskNotFound)
def not_found(_: TaskNotFound) -> Response:
    """404."""
    return _error(404, "Task not found")


@app.exception_handler(RequestValidationError)
def invalid(error: RequestValidationError) -> Response:
    """422 with what is wrong and where."""
    errors = error.errors()
    return _error(422, [{"type": e["type"], "loc": e["loc"], "msg": e["msg"]} for e in errors])


def _error(status: int, detail: object, headers: dict[str, str] | None = None) -> Response:
    return Response(status, content_types.APPLICATION_JSON, {"detail": detail}, headers)


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request, and log one line of it."""
    started = time.perf_counter()
    answer = app.resolve(event, context)
    milliseconds = round((time.perf_counter() - started) * 1000, 1)
    logger.info("request", route=event["routeKey"], status=answer["statusCode"], ms=milliseconds)
    return answer
