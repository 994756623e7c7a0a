"""What a bare handler cannot do without: who calls, the database, an answer, a line in the log."""

import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

Event = dict[str, Any]
Row = dict[str, Any]

_ACT_AS = "SELECT set_config('role', 'task_api', true), set_config('app.user_id', %s, true)"


class Refused(Exception):
    """The request's answer: a status and why."""

    def __init__(self, status: int, detail: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def _connect() -> psycopg.Connection[Row]:
    # This cursor puts the parameters into the text, so that two statements go in one message.
    return psycopg.connect(
        os.environ["DATABASE_URL"],
        autocommit=True,
        row_factory=dict_row,
        cursor_factory=psycopg.ClientCursor,
    )


# One connection for the life of the environment, made in Lambda's INIT.
_connection = _connect()


def run(user_id: str, sql: LiteralString, parameters: Sequence[object]) -> list[Row]:
    """One statement with row-level security, in one round trip.

    The statements of one message are one implicit transaction: the user is set in it, and in
    nothing after it. A pipeline does the same with more messages: through a pooler with TLS, as
    it is deployed, it was 0.04 ms slower, and straight to Postgres 0.02 ms faster.
    """
    global _connection
    if _connection.closed:
        _connection = _connect()
    cursor = _connection.execute(_ACT_AS + ";" + sql, [user_id, *parameters])
    cursor.nextset()
    return cursor.fetchall()


def answering(operation: Callable[[Event, str], tuple[int, object]]) -> Callable[[Event, Any], Any]:
    """The handler of an operation: identity before it, errors and a line in the log after it."""

    def handler(event: Event, context: Any) -> dict[str, Any]:
        started = time.perf_counter()
        try:
            status, body = operation(event, _caller(event))
        except Refused as refused:
            status, body = refused.status, {"detail": refused.detail}
        line = {
            "level": "INFO",
            "message": "request",
            "request_id": context.aws_request_id,
            "route": event["routeKey"],
            "status": status,
            "ms": round((time.perf_counter() - started) * 1000, 1),
        }
        print(json.dumps(line), flush=True)
        headers = {"content-type": "application/json"}
        return {"statusCode": status, "headers": headers, "body": json.dumps(body)}

    return handler


def _caller(event: Event) -> str:
    """The caller's id, which the path has to name too."""
    claims = event["requestContext"].get("authorizer", {}).get("lambda", {})
    if not claims.get("sub") or not time.time() < float(claims.get("exp", 0)):
        raise Refused(401, "Send a valid token")
    user_id: str = event["pathParameters"]["user_id"]
    if claims["sub"] != user_id:
        raise Refused(403, "The token belongs to another user than the path")
    if len(user_id) > 255 or "\0" in user_id:
        raise invalid("path", "user_id")
    return user_id


def task(row: Row) -> Row:
    """A row as an answer shows it; in UTC, whatever time zone the server is in."""
    row["id"] = str(row["id"])
    row["created_at"] = row["created_at"].astimezone(UTC).isoformat()[:-6] + "Z"
    row["updated_at"] = row["updated_at"].astimezone(UTC).isoformat()[:-6] + "Z"
    return row


def one(rows: list[Row]) -> Row:
    """The task of the only row. Raises a 404 when there is none."""
    if not rows:
        raise Refused(404, "Task not found")
    return task(rows[0])


def task_id(event: Event) -> UUID:
    """The path's task id. Raises a 422."""
    try:
        return UUID(event["pathParameters"]["task_id"])
    except ValueError:
        raise invalid("path", "task_id") from None


def body(event: Event) -> dict[str, Any]:
    """The body's JSON object. Raises a 422."""
    try:
        value = json.loads(event.get("body") or "")
    except ValueError:
        raise invalid("body") from None
    if not isinstance(value, dict):
        raise invalid("body")
    return value


def text(value: object, name: str, longest: int) -> str:
    """A string of the body that Postgres can hold. Raises a 422."""
    if not isinstance(value, str) or len(value) > longest or "\0" in value or not _utf8(value):
        raise invalid("body", name)
    return value


def title(value: object) -> str:
    """A title without white space around it. Raises a 422."""
    trimmed = text(value, "title", 500).strip()
    if not trimmed:
        raise invalid("body", "title")
    return trimmed


def _utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def invalid(*place: str) -> Refused:
    """A 422."""
    return Refused(422, [{"type": "invalid", "loc": place, "msg": "Input is not valid"}])


def uuid7() -> UUID:
    """A new id that sorts by the time it was made at (RFC 9562; Python 3.14 brings its own)."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    value = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
    return UUID(int=value)
