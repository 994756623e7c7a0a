"""Every error answer: JSON with a `detail`, as problem+json (RFC 9457)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import neon
import tasks
from web.messages import Response

MEDIA_TYPE = "application/problem+json"

# Python's own phrases differ between its versions; these are RFC 9110's.
_TITLES = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Problem(Exception):
    """An error that has its HTTP answer. `slug` ends the `type`, by default from the status."""

    def __init__(
        self,
        status: int,
        detail: str | Sequence[Mapping[str, Any]],
        headers: Mapping[str, str] | None = None,
        *,
        slug: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = _TITLES[status]
        self.detail = detail
        self.headers = dict(headers or {})
        self.slug = slug or self.title.lower().replace(" ", "-")

    def response(self, request_id: str | None) -> Response[str]:
        """The answer, naming the request so that the log can be found."""
        body = {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if request_id:
            body["instance"] = request_id
        return Response(
            self.status, MEDIA_TYPE, json.dumps(body, separators=(",", ":")), self.headers
        )


def problem_of(error: Exception, request_id: str = "") -> Problem:
    """The answer to any error. What is not foreseen is logged whole and answered as a bare 500."""
    if isinstance(error, Problem):
        return error
    if type(error) in _OF_TASKS:
        return _OF_TASKS[type(error)]()
    if isinstance(error, neon.DatabaseError):
        _log(f"the database failed: {error}", error, request_id)
        return of_database(error)
    _log("an unforeseen error", error, request_id)
    return internal()


def _log(message: str, error: Exception, request_id: str) -> None:
    # Most environments never have an error to log, and this import is not a small one.
    from aws_lambda_powertools import Logger

    Logger(use_rfc3339=True).error(message, exc_info=error, function_request_id=request_id)


def invalid(errors: Sequence[Any]) -> Problem:
    """A 422 that lists each error as FastAPI's clients expect it."""
    return Problem(
        422,
        [
            {"type": str(e["type"]), "loc": list(e["loc"]), "msg": str(e.get("msg", ""))}
            for e in errors
        ],
    )


def internal() -> Problem:
    """A 500; whoever returns it has logged why."""
    return Problem(500, "Something went wrong; the request id names it in the logs")


def unsupported_media_type() -> Problem:
    """A 415."""
    return Problem(415, "Send the body as application/json")


def _refused(where: str, name: str, type_: str, message: str) -> Problem:
    return invalid([{"type": type_, "loc": (where, name), "msg": message}])


_OF_TASKS: dict[type[Exception], Callable[[], Problem]] = {
    tasks.TaskNotFoundError: lambda: Problem(404, "Task not found"),
    tasks.VersionMismatchError: lambda: Problem(
        412, "The task was changed since; nothing was done"
    ),
    tasks.KeyInUseError: lambda: Problem(
        409, "A request with this Idempotency-Key is still running", {"Retry-After": "1"}
    ),
    tasks.KeyReusedError: lambda: _refused(
        "header",
        "idempotency-key",
        "idempotency_key_reused",
        "Idempotency-Key was used before with another body",
    ),
    tasks.InvalidCursorError: lambda: _refused(
        "query", "cursor", "cursor_invalid", "Cursor should be one that this very list has given"
    ),
}


def of_database(error: neon.DatabaseError) -> Problem:
    """The answer to a failure of the database: 503 wherever trying again makes sense."""
    if isinstance(error, neon.OutcomeUnknownError):
        return Problem(
            503,
            "The connection was lost before the outcome was known; "
            "retry with an Idempotency-Key, or look before you repeat",
            {"Retry-After": "1"},
            slug="outcome-unknown",
        )
    if isinstance(error, neon.UnavailableError):
        seconds = str(max(1, math.ceil(error.retry_after)))
        return Problem(503, "The database is not available; try again", {"Retry-After": seconds})
    if isinstance(error, neon.ConflictError) and not error.sqlstate.startswith("23"):
        # A deadlock or a serialization failure: another transaction was faster; nothing was done.
        return Problem(503, "The database was busy; try again", {"Retry-After": "1"})
    return internal()
