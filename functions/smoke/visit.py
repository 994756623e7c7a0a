"""One visit of a customer: every route once, each answer verified, and nothing left behind.

Several visits may run at a time (the schedule's and a deployment's), so each looks at its own task
alone.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from api import Api, UnexpectedError

# A visit lasts a minute at most: what is older is left over from one that crashed.
_LEFT_OVER = timedelta(minutes=10)


@dataclass(frozen=True)
class Step:
    """What one step took, in milliseconds, and what was wrong with it; "" if nothing was."""

    name: str
    ms: float
    error: str = ""


class Visit:
    """The steps, in the order of `run`; each raises UnexpectedError."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._run_id = uuid.uuid4().hex
        self._task: dict[str, Any] = {}

    def run(self) -> Iterator[Step]:
        """All steps until one fails; whatever happens, the task is gone in the end."""
        steps = (
            self.health,
            self.documents,
            self.clean,
            self.create,
            self.read,
            self.update,
            self.toggle,
            self.list,
            self.keep_out,
            self.delete,
        )
        try:
            for each in steps:
                step = _timed(each)
                yield step
                if step.error:
                    return
        finally:
            self._leave()

    def health(self) -> None:
        """The API reaches its database."""
        _check(self._api.send("GET", "/health").expect(200) == {"status": "ok"}, "it is not ok")

    def documents(self) -> None:
        """The page for people and the specification for programs are there."""
        page = self._api.send("GET", "/docs")
        page.expect(200)
        _check(page.headers.get("content-type", "").startswith("text/html"), "/docs is no page")
        specification = self._api.send("GET", "/openapi.json").expect(200)
        _check(specification["paths"], "/openapi.json describes no path")

    def clean(self) -> None:
        """Remove what a crashed predecessor left."""
        oldest = datetime.now(UTC) - _LEFT_OVER
        for task in self._api.send("GET", self._api.tasks()).expect(200):
            if datetime.fromisoformat(task["created_at"]) < oldest:
                self._api.send("DELETE", self._api.tasks(task["id"]))

    def create(self) -> None:
        """A new task comes back as it was sent, under the address that Location names."""
        body = {"title": f"Smoke {self._run_id}", "description": "äöü 🚬"}
        answer = self._api.send("POST", self._api.tasks(), body)
        self._task = answer.expect(201)
        self._verify(self._task, **body, completed=False, user_id=self._api.user)
        _check(answer.headers.get("location", "").endswith(self._task["id"]), "Location is wrong")

    def read(self) -> None:
        """The task is there, and is what was created."""
        self._verify(self._read(), **self._task)

    def update(self) -> None:
        """A change of the title changes the title alone, and `updated_at`."""
        before, title = self._task, f"Smoke {self._run_id} again"
        path = self._api.tasks(before["id"])
        self._task = self._api.send("PUT", path, {"title": title}).expect(200)
        self._verify(self._task, **before | {"title": title, "updated_at": ...})
        _check(self._task["updated_at"] > before["updated_at"], "updated_at stands still")
        self._verify(self._read(), **self._task)

    def toggle(self) -> None:
        """The task is completed, and only that."""
        path = self._api.tasks(self._task["id"], "complete")
        toggled = self._api.send("PATCH", path).expect(200)
        self._verify(toggled, **self._task | {"completed": True, "updated_at": ...})
        self._task = toggled

    def list(self) -> None:
        """The list has the task, as it is by now."""
        tasks = self._api.send("GET", self._api.tasks()).expect(200)
        found = [task for task in tasks if task["id"] == self._task["id"]]
        _check(len(found) == 1, "the list does not have the task once")
        self._verify(found[0], **self._task)

    def keep_out(self) -> None:
        """Under another user's path there is no way in, and none without a token."""
        other = self._api.tasks(user=f"{self._api.user}-other")
        self._api.send("GET", other).expect(403)
        self._api.send("GET", self._api.tasks(), headers={"Authorization": "Bearer x"}).expect(401)

    def delete(self) -> None:
        """The task goes, and is gone."""
        path = self._api.tasks(self._task["id"])
        self._api.send("DELETE", path).expect(200)
        self._api.send("GET", path).expect(404)
        self._task = {}

    def _read(self) -> Any:
        return self._api.send("GET", self._api.tasks(self._task["id"])).expect(200)

    @staticmethod
    def _verify(task: Any, **members: object) -> None:
        for name, value in members.items():
            _check(value is ... or task.get(name) == value, f"{name} is not what it has to be")

    def _leave(self) -> None:
        """Take the task away if it is still there; the next visit's `clean` is the second try."""
        if self._task:
            try:
                self._api.send("DELETE", self._api.tasks(self._task["id"]))
            except UnexpectedError:
                return


def _check(is_right: object, complaint: str) -> None:
    if not is_right:
        raise UnexpectedError(complaint)


def _timed(step: Callable[[], None]) -> Step:
    started, error = time.perf_counter(), ""
    try:
        step()
    except UnexpectedError as unexpected:
        error = str(unexpected)
    except (TypeError, KeyError, ValueError, AttributeError) as broken:
        error = f"the answer has another form ({type(broken).__name__})"
    return Step(step.__name__, round((time.perf_counter() - started) * 1000, 1), error)
