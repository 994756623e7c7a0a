"""The problem of each error of the tasks and of their database."""

from __future__ import annotations

import math
from collections.abc import Callable

import neon
from tasks import errors
from web.problems import ProblemError, internal, invalid

_OF_TASKS: dict[type[Exception], Callable[[], ProblemError]] = {
    errors.TaskNotFoundError: lambda: ProblemError(404, "Task not found"),
    errors.VersionMismatchError: lambda: ProblemError(
        412, "The task is not in a version that the request asks for; nothing was done"
    ),
    errors.KeyInUseError: lambda: ProblemError(
        409, "A request with this Idempotency-Key is still running", {"Retry-After": "1"}
    ),
    errors.KeyReusedError: lambda: _refused(
        "header",
        "idempotency-key",
        "idempotency_key_reused",
        "Idempotency-Key was used before with another body",
    ),
    errors.TooManyListsError: lambda: ProblemError(
        429,
        "Too many of your lists are at work at once; wait for one of them",
        {"Retry-After": "1"},
        slug="too-many-lists",
    ),
    errors.InvalidCursorError: lambda: _refused(
        "query", "cursor", "cursor_invalid", "Cursor should be one that this very list has given"
    ),
}


def problem_of(error: Exception, *, too_slow: str = "") -> ProblemError:
    """Return the problem that an error is for the client: a bare 500 if nobody foresaw it.

    `too_slow` is the sentence for a statement that took longer than a time limit of its own.

    >>> problem_of(errors.TaskNotFoundError()).detail
    'Task not found'
    """
    if type(error) in _OF_TASKS:
        return _OF_TASKS[type(error)]()
    if isinstance(error, neon.OutcomeUnknownError):
        return ProblemError(
            503,
            "The connection was lost before the outcome was known; "
            "retry with an Idempotency-Key, or look before you repeat",
            {"Retry-After": "1"},
            slug="outcome-unknown",
        )
    if isinstance(error, errors.OperationRefusedError):
        problem = problem_of(error.reason)
        problem.members = {"operation": error.operation}
        return problem
    if isinstance(error, errors.QuotaExceededError):
        return ProblemError(403, f"{error}", slug="quota-exceeded")
    if isinstance(error, neon.TimedOutError) and too_slow:
        return ProblemError(503, too_slow, {"Retry-After": "1"}, slug="too-slow", is_fault=False)
    if isinstance(error, neon.UnavailableError):
        seconds = str(max(1, math.ceil(error.retry_after)))
        return ProblemError(
            503, "The database is not available; try again", {"Retry-After": seconds}
        )
    if isinstance(error, neon.ConflictError) and not error.sqlstate.startswith("23"):
        # A deadlock or a serialization failure: another transaction was faster; nothing was done.
        return ProblemError(503, "The database was busy; try again", {"Retry-After": "1"})
    return internal()


def _refused(where: str, name: str, type_: str, message: str) -> ProblemError:
    return invalid([{"type": type_, "loc": (where, name), "msg": message}])
