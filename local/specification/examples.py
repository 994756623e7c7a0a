"""The task of all examples, and the errors that endpoints share, with theirs.

The code that raises an error makes the example of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import neon
from tasks import errors
from tasks.settings import Settings
from web import identity, request
from web.failures import problem_of
from web.problems import ProblemError, internal, invalid

REQUEST_ID = "5f0c8f3e-6a52-4a0e-9d7c-1f1f4f5b9a10"
USER = "alice"
TASK = {
    "id": "019a9f3c-5b1e-7c64-8f0a-3f1d2b7c9e55",
    "user_id": USER,
    "title": "Water the plants",
    "description": "The ferns twice",
    "completed": False,
    "created_at": "2026-11-21T09:30:00.123456Z",
    "updated_at": "2026-11-21T09:30:00.123456Z",
}
"""The task of all examples; an endpoint's own examples have the differences only."""


def _wrong(where: str, type_: str, message: str) -> ProblemError:
    """Make the 422 of a part that validation refuses."""
    loc = [int(part) if part.isdigit() else part for part in where.split(".")]
    return invalid([{"type": type_, "loc": loc, "msg": message}])


_TOO_SHORT = "String should have at least 1 character"
_TOO_LONG = "String should have at most 255 characters"
_TOO_MANY = "Input should be less than or equal to 1000"

# The part of a request that makes an error possible ("" is any request), and what it means. Where
# two of one status hold, the later one has the description.
_DESCRIPTIONS = [
    (304, "if_none_match", "The version of If-None-Match is still the current one."),
    (401, "user_id", "No token, or one that is not valid."),
    (403, "user_id", "The token belongs to another user than the path."),
    (403, "key", "The token belongs to another user than the path, or a quota is used up."),
    (404, "key", "An earlier request with this Idempotency-Key made a task that is gone."),
    (404, "task_id", "There is no such task, or it is another user's."),
    (404, "operations", "An operation names a task that does not exist; nothing was done."),
    (409, "key", "A request with this Idempotency-Key is still running."),
    (412, "if_match", "The version is not one that If-Match and If-None-Match ask for."),
    (412, "operations", "A task no longer has the tag of an operation; nothing was done."),
    (413, "body", "The body is larger than 1 MB."),
    (415, "body", "The body is not said to be JSON."),
    (422, "user_id", "The request says something wrong."),
    (429, "", "More requests than this API takes at a time."),
    (429, "too_slow", "More requests than this API takes at a time, or more lists of this user."),
    (500, "", "Something went wrong inside; the request id names it in the logs."),
    (503, "", "The database is not available, or a write's outcome is not known."),
    (503, "too_slow", "The database is not available, or the list takes too long."),
]
_EXAMPLES: list[tuple[int, str, str, Exception]] = [
    (401, "", "no token", identity.unauthorized()),
    (401, "", "a bad token", identity.unauthorized("The token is not valid")),
    (401, "", "an expired token", identity.unauthorized("The token has expired")),
    (403, "", "another user's path", identity.forbidden()),
    (
        403,
        "new",
        "too many tasks",
        errors.QuotaExceededError("tasks", Settings().max_tasks_per_user),
    ),
    (
        403,
        "operations",
        "too many tasks",
        errors.OperationRefusedError(
            1, errors.QuotaExceededError("tasks", Settings().max_tasks_per_user)
        ),
    ),
    (403, "key", "too many keys", errors.QuotaExceededError("keys", Settings().max_keys_per_user)),
    (404, "", "no such task", errors.TaskNotFoundError()),
    (
        404,
        "operations",
        "no such task",
        errors.OperationRefusedError(1, errors.TaskNotFoundError()),
    ),
    (409, "", "still running", errors.KeyInUseError()),
    (412, "", "changed since", errors.VersionMismatchError()),
    (
        412,
        "operations",
        "changed since",
        errors.OperationRefusedError(1, errors.VersionMismatchError()),
    ),
    (413, "", "too large", request.too_large()),
    (415, "", "no JSON", request.unsupported_media_type()),
    (415, "", "a compressed body", request.unsupported_coding()),
    (422, "title", "a blank title", _wrong("body.title", "string_too_short", _TOO_SHORT)),
    (
        422,
        "operations",
        "a blank title",
        _wrong("body.operations.1.task.title", "string_too_short", _TOO_SHORT),
    ),
    (422, "body", "no JSON", _wrong("body", "json_invalid", "JSON decode error")),
    (
        422,
        "task_id",
        "no UUID",
        _wrong("path.task_id", "uuid_parsing", "Input should be a valid UUID"),
    ),
    (422, "limit", "a limit out of bounds", _wrong("query.limit", "less_than_equal", _TOO_MANY)),
    (422, "cursor", "another list's cursor", errors.InvalidCursorError()),
    (422, "key", "a key that was used before", errors.KeyReusedError()),
    (422, "user alone", "too long a user", _wrong("path.user_id", "string_too_long", _TOO_LONG)),
    (429, "too_slow", "too many lists", errors.TooManyListsError()),
    (500, "", "anything unforeseen", internal()),
    (503, "", "the database is not available", neon.UnavailableError("")),
    (503, "", "the outcome of a write is not known", neon.OutcomeUnknownError("")),
    (503, "too_slow", "the list takes too long", neon.TimedOutError("")),
]


def problem_types(statuses: Collection[int]) -> list[str]:
    """Return the `type` of every problem that has one of these statuses."""
    bodies = [_body(error, "too slow") for *_, error in _EXAMPLES]
    return sorted({body["type"] for body in bodies if body["status"] in statuses})


def of_errors(parts: set[str], too_slow: str) -> dict[int, tuple[str, dict[str, Any]]]:
    """Return the description and the examples of each error that these parts make possible."""
    parts = parts | {""}
    if parts.isdisjoint(part for status, part, *_ in _EXAMPLES if status == 422):
        parts.add("user alone")
    return {
        status: (
            text,
            {
                name: _body(e, too_slow)
                for its, part, name, e in _EXAMPLES
                if its == status and part in parts
            },
        )
        for status, needed, text in _DESCRIPTIONS
        if needed in parts
    }


def _body(error: Exception, too_slow: str) -> Any:
    problem = error if isinstance(error, ProblemError) else problem_of(error, too_slow=too_slow)
    return json.loads(str(problem.response(REQUEST_ID).content))
