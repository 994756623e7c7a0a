"""Examples that all endpoints share. The code that raises an error makes the example of it."""

from __future__ import annotations

import json
from typing import Any

import neon
from tasks import errors, models
from web import identity, request
from web.failures import problem_of
from web.problems import ProblemError, internal, invalid

_REQUEST = "5f0c8f3e-6a52-4a0e-9d7c-1f1f4f5b9a10"
USER = "alice"
TASK_ID = "019a9f3c-5b1e-7c64-8f0a-3f1d2b7c9e55"
ETAG = '"643d2f1a8b3c0"'
LINK = f'</api/{USER}/tasks?limit=2&cursor=q83vEjRWeJASNFZ4kBI0Vg>; rel="next"'

TASK = {
    "id": TASK_ID,
    "user_id": USER,
    "title": "Water the plants",
    "description": "The ferns twice",
    "completed": False,
    "created_at": "2026-11-21T09:30:00.123456Z",
    "updated_at": "2026-11-21T09:30:00.123456Z",
}
"""The task of all examples; an endpoint's examples say what is different in them."""

Examples = dict[str, Any]
"""Named examples of one kind of body."""

_INVALID: dict[str, Examples] = {
    "title": {
        "a blank title": (
            ("body", "title"),
            "string_too_short",
            "String should have at least 1 character",
        ),
    },
    "body": {"no JSON": (("body",), "json_invalid", "JSON decode error")},
    "task_id": {
        "no UUID": (("path", "task_id"), "uuid_parsing", "Input should be a valid UUID"),
    },
    "limit": {
        "a limit out of bounds": (
            ("query", "limit"),
            "less_than_equal",
            "Input should be less than or equal to 1000",
        ),
    },
    "cursor": {"another list's cursor": errors.InvalidCursorError()},
    "key": {"a key that was used before": errors.KeyReusedError()},
}
"""What may be wrong with a part of a request."""

_INVALID_USER = (
    ("path", "user_id"),
    "string_too_long",
    "String should have at most 255 characters",
)
"""What may be wrong with any request: the example of an endpoint that takes nothing else."""


def of_model(model: Any, named: Examples) -> Examples:
    """An endpoint's examples of a success, with the members of the task that they do not name."""
    if model is models.Task:
        return {name: TASK | each for name, each in named.items()}
    if model == list[models.Task]:
        return {name: [TASK | task for task in each] for name, each in named.items()}
    return named


def problems(status: int, parts: set[str]) -> Examples:
    """Return the errors of a status that the request's parts allow, by what is wrong."""
    found = _invalid(parts) if status == 422 else _problems(parts).get(status, {})
    return {
        name: json.loads(str(problem.response(_REQUEST).content)) for name, problem in found.items()
    }


def _invalid(parts: set[str]) -> dict[str, ProblemError]:
    found = {
        name: _refused(wrong)
        for part, named in _INVALID.items()
        if part in parts
        for name, wrong in named.items()
    }
    return found or {"too long a user": _refused(_INVALID_USER)}


def _refused(wrong: Any) -> ProblemError:
    if isinstance(wrong, Exception):
        return problem_of(wrong)
    loc, type_, message = wrong
    return invalid([{"loc": loc, "type": type_, "msg": message}])


def _problems(parts: set[str]) -> dict[int, dict[str, ProblemError]]:
    too_slow = {"the list takes too long": problem_of(neon.TimedOutError(""))}
    return {
        401: {
            "no token": identity.unauthorized(),
            "a bad token": identity.unauthorized("The token is not valid"),
            "an expired token": identity.unauthorized("The token has expired"),
        },
        403: {"another user's path": identity.forbidden()} | _quotas(parts),
        404: {"no such task": problem_of(errors.TaskNotFoundError())},
        409: {"still running": problem_of(errors.KeyInUseError())},
        412: {"changed since": problem_of(errors.VersionMismatchError())},
        413: {"too large": request.too_large()},
        415: {"no JSON": request.unsupported_media_type()},
        500: {"anything unforeseen": internal(Exception())},
        503: {
            "the database is not available": problem_of(neon.UnavailableError("")),
            "the outcome of a write is not known": problem_of(neon.OutcomeUnknownError("")),
        }
        | (too_slow if "cursor" in parts else {}),
    }


def _quotas(parts: set[str]) -> dict[str, ProblemError]:
    """Return what a write may exceed: a new task the one quota, a key the other."""
    is_new = "title" in parts and "task_id" not in parts
    exceeded = {"too many tasks": "tasks"} if is_new else {}
    exceeded |= {"too many keys": "keys"} if "key" in parts else {}
    quota = 10_000  # the default of both
    return {
        name: problem_of(errors.QuotaExceededError(what, quota)) for name, what in exceeded.items()
    }
