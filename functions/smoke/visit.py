"""One visit of a customer: every route once, each answer verified, and nothing left behind.

Several visits may run at a time (the schedule's and a deployment's), so each looks at its own task
alone. A visit is a generator that names each step before it takes it.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from api import USER, Api, UnexpectedError

_TASKS = f"/api/{USER}/tasks"
# A visit lasts a minute at most: what is older is left over from one that crashed.
_LEFT_OVER = timedelta(minutes=10)


class Step(NamedTuple):
    """What one step took, in milliseconds, and what was wrong with it; "" if nothing was."""

    name: str
    ms: float
    error: str = ""


def visit(api: Api) -> Iterator[Step]:
    """Take all steps until one fails; whatever happens, the task is gone in the end."""
    steps = _steps(api)
    name = next(steps)
    while name:
        started, following, error = time.perf_counter(), "", ""
        try:
            following = next(steps, "")
        except UnexpectedError as unexpected:
            error = str(unexpected)
        except (TypeError, KeyError, ValueError, AttributeError) as broken:
            error = f"the answer has another form ({type(broken).__name__})"
        yield Step(name, round((time.perf_counter() - started) * 1000, 1), error)
        name = following


def _steps(api: Api) -> Iterator[str]:
    yield "health"
    _check(api.send("GET", "/health").expect(200) == {"status": "ok"}, "it is not ok")

    yield "documents"
    page = api.send("GET", "/docs")
    page.expect(200)
    _check(page.headers.get("content-type", "").startswith("text/html"), "/docs is no page")
    specification = api.send("GET", "/openapi.json").expect(200)
    _check(specification["paths"], "/openapi.json describes no path")

    yield "clean"  # what a crashed predecessor left
    oldest = datetime.now(UTC) - _LEFT_OVER
    for task in api.send("GET", _TASKS).expect(200):
        if datetime.fromisoformat(task["created_at"]) < oldest:
            api.send("DELETE", f"{_TASKS}/{task['id']}")

    yield "create"
    body = {"title": f"Smoke {uuid.uuid4().hex}", "description": "äöü 🚬"}
    created = api.send("POST", _TASKS, body)
    task = created.expect(201)
    path = f"{_TASKS}/{task['id']}"
    try:
        _verify(task, body | {"completed": False, "user_id": USER})
        _check(created.headers.get("location", "").endswith(path), "Location is wrong")
        yield from _steps_with(api, path, task)
    except BaseException:
        with contextlib.suppress(UnexpectedError):  # the next visit's `clean` tries again
            api.send("DELETE", path)
        raise


def _steps_with(api: Api, path: str, task: dict[str, Any]) -> Iterator[str]:
    yield "read"
    _verify(api.send("GET", path).expect(200), task)

    yield "update"  # changes the title alone, and `updated_at`
    title = f"{task['title']} again"
    updated = api.send("PUT", path, {"title": title}).expect(200)
    _verify(updated, task | {"title": title, "updated_at": ...})
    _check(updated["updated_at"] > task["updated_at"], "updated_at stands still")
    _verify(api.send("GET", path).expect(200), updated)

    yield "toggle"  # completes it, and nothing else
    toggled = api.send("PATCH", f"{path}/complete").expect(200)
    _verify(toggled, updated | {"completed": True, "updated_at": ...})

    yield "batch"  # reopens and completes it again
    operations = [{"op": "toggle", "id": task["id"]}] * 2
    done = api.send("POST", f"{_TASKS}/batch", {"operations": operations}).expect(200)
    reopened, completed = (each["task"] for each in done["results"])
    _verify(reopened, toggled | {"completed": False, "updated_at": ...})
    _verify(completed, toggled | {"updated_at": ...})

    yield "list"
    tasks = api.send("GET", _TASKS).expect(200)
    found = [each for each in tasks if each["id"] == task["id"]]
    _check(len(found) == 1, "the list does not have the task once")
    _verify(found[0], completed)

    yield "keep_out"  # no way in under another user's path, nor with a bad token
    api.send("GET", f"/api/{USER}-other/tasks").expect(403)
    Api(api.url, "x").send("GET", _TASKS).expect(401)

    yield "delete"
    api.send("DELETE", path).expect(200)
    api.send("GET", path).expect(404)


def _verify(task: Any, members: dict[str, Any]) -> None:
    """Compare the task's members with these; `...` is any value."""
    for name, value in members.items():
        _check(value is ... or task.get(name) == value, f"{name} is not what it has to be")


def _check(is_right: object, complaint: str) -> None:
    if not is_right:
        raise UnexpectedError(complaint)
