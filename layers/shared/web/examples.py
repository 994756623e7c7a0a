"""Examples for the specification. The errors are made by what makes them in life.

Only the build imports this, no function.
"""

from __future__ import annotations

import json
from typing import Any

import neon
import tasks
from web import body, identity
from web.problems import Problem, internal, invalid, of_database, problem_of, unsupported_media_type

_REQUEST = "5f0c8f3e-6a52-4a0e-9d7c-1f1f4f5b9a10"
USER = "alice"
TASK_ID = "019a9f3c-5b1e-7c64-8f0a-3f1d2b7c9e55"
ETAG = '"643d2f1a8b3c0"'
KEY = "0d0f9a52-3f39-4d55-9b5a-6a3a4b1f2c3d"
LINK = f'</api/{USER}/tasks?limit=2&cursor=q83vEjRWeJASNFZ4kBI0Vg>; rel="next"'

_TASK = {
    "id": TASK_ID,
    "user_id": USER,
    "title": "Water the plants",
    "description": "The ferns twice",
    "completed": False,
    "created_at": "2026-11-21T09:30:00.123456Z",
    "updated_at": "2026-11-21T09:30:00.123456Z",
}
_LATER = {"updated_at": "2026-11-21T18:05:12.000042Z"}

Examples = dict[str, Any]
"""Named examples of one kind of body."""

REQUESTS: dict[str, Examples] = {
    "createTask": {
        "a title": {"title": "Water the plants"},
        "a title and a description": {
            "title": "Water the plants",
            "description": "The ferns twice",
        },
    },
    "updateTask": {
        "complete it": {"completed": True},
        "rename it": {"title": "Water the ferns"},
        "clear its description": {"description": ""},
        "change all": {"title": "Water the ferns", "description": "Twice", "completed": False},
    },
}

SUCCESSES: dict[str, Examples] = {
    "listTasks": {
        "some tasks": [_TASK, _TASK | {"id": TASK_ID[:-1] + "6", "description": None}],
        "none": [],
    },
    "createTask": {"the new task": _TASK},
    "getTask": {"a task": _TASK},
    "updateTask": {"the task after the update": _TASK | {"completed": True} | _LATER},
    "deleteTask": {"deleted": {"message": "Task deleted successfully"}},
    "toggleTask": {"the task, completed": _TASK | {"completed": True} | _LATER},
    "health": {"it works": {"status": "ok"}},
}

_INVALID: dict[str, tuple[tuple[str, ...], str, str]] = {
    "a blank title": (
        ("body", "title"),
        "string_too_short",
        "String should have at least 1 character",
    ),
    "no JSON": (("body",), "json_invalid", "JSON decode error"),
    "no UUID": (("path", "task_id"), "uuid_parsing", "Input should be a valid UUID"),
    "a user id that is too long": (
        ("path", "user_id"),
        "string_too_long",
        "String should have at most 255 characters",
    ),
    "a limit out of bounds": (
        ("query", "limit"),
        "less_than_equal",
        "Input should be less than or equal to 1000",
    ),
}
_INVALID_OF = {
    "listTasks": ["a limit out of bounds", "another list's cursor"],
    "createTask": ["a blank title", "no JSON", "a key that was used before"],
    "getTask": ["no UUID"],
    "updateTask": ["a blank title", "no JSON", "no UUID", "a key that was used before"],
    "deleteTask": ["no UUID", "a key that was used before"],
    "toggleTask": ["no UUID", "a key that was used before"],
}


def problems(operation: str, status: int) -> Examples:
    """Every error of this status that the operation answers with, by what is wrong."""
    if status == 422:
        return {name: _shown(_invalid(name)) for name in _INVALID_OF[operation]}
    return {name: _shown(problem) for name, problem in _problems()[status].items()}


def _problems() -> dict[int, dict[str, Problem]]:
    return {
        401: {
            "no token": identity.unauthorized(),
            "a bad token": identity.unauthorized("The token is not valid"),
            "an expired token": identity.unauthorized("The token has expired"),
        },
        403: {"another user's path": identity.forbidden()},
        404: {"no such task": problem_of(tasks.TaskNotFoundError())},
        409: {"still running": problem_of(tasks.KeyInUseError())},
        412: {"changed since": problem_of(tasks.VersionMismatchError())},
        413: {"too large": body.too_large()},
        415: {"no JSON": unsupported_media_type()},
        500: {"anything unforeseen": internal()},
        503: {
            "the database is not available": of_database(neon.UnavailableError("")),
            "the outcome of a write is not known": of_database(neon.OutcomeUnknownError("")),
        },
    }


def _invalid(name: str) -> Problem:
    if name == "another list's cursor":
        return problem_of(tasks.InvalidCursorError())
    if name == "a key that was used before":
        return problem_of(tasks.KeyReusedError())
    loc, type_, message = _INVALID[name]
    return invalid([{"loc": loc, "type": type_, "msg": message}])


def _shown(problem: Problem) -> Any:
    return json.loads(str(problem.response(_REQUEST).content))
