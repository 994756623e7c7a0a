"""A customer who follows the contract: each write has a key and is sent until it is answered."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.load import Record, Response

# In use, too many requests, unavailable: try again. Any other status is the outcome.
_AGAIN = {409, 429, 503}
# The share of the writes that the client gives up on and then sends again.
_GIVE_UP = 0.05
_PATIENCE_SECONDS = (0.0, 0.2)


@dataclass
class Ledger(Record):
    """The record of a run; `surprises` has each response that broke the contract."""

    acknowledged: Counter[str] = field(default_factory=Counter)
    operations: int = 0  # of acknowledged batches
    hung_up: int = 0
    retries: int = 0
    replays: int = 0
    done_in: list[float] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)


@dataclass
class Known:
    """A task as its customer knows it, with the ETag of the last response."""

    title: str
    completed: bool
    etag: str


class Customer:
    """The only client of one user's tasks, who therefore knows what each response has to be."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        user: str,
        token: str,
        ledger: Ledger,
        chance: random.Random,
    ) -> None:
        self.user = user
        self.tasks: dict[str, Known] = {}
        self._path = f"/api/{user}/tasks"
        self._session = session
        self._token = token
        self._ledger = ledger
        self._chance = chance
        self._titles = 0

    async def live(self, over: asyncio.Event) -> None:
        """Use the API until it is over, and finish the last request."""
        of_any = [*[self._update] * 3, *[self._toggle] * 3, self._delete, self._refused, self._get]
        others = [*[self._create] * 3, self._delete_again, self._list, *[self._batch] * 2]
        others += [self._refused_batch]
        while not over.is_set():
            number = self._chance.randrange(len(of_any) + len(others))
            if number < len(others):
                await others[number]()
            elif self.tasks:
                id_ = self._chance.choice([*self.tasks])
                await of_any[number - len(others)](id_, self.tasks[id_])

    async def _create(self) -> None:
        title = self._new_title()
        response = await self._write("create", "POST", "", 201, json={"title": title})
        if response.status == 201:
            self._expect("create", response.body["title"], title)
            id_, etag = response.body["id"], response.headers["ETag"]
            self.tasks[id_] = Known(title, completed=False, etag=etag)

    async def _update(self, id_: str, task: Known) -> None:
        title = self._new_title()
        match = {"If-Match": task.etag} if self._chance.random() < 0.5 else {}
        body = {"title": title}
        response = await self._write("update", "PUT", f"/{id_}", 200, json=body, headers=match)
        if response.status == 200:
            self._expect("update", response.body["title"], title)
            task.title, task.etag = title, response.headers["ETag"]

    async def _toggle(self, id_: str, task: Known) -> None:
        """Toggle a task. Two toggles would look like none, so a doubled write shows."""
        response = await self._write("toggle", "PATCH", f"/{id_}/complete", 200)
        if response.status == 200:
            self._expect("toggle", response.body["completed"], not task.completed)
            task.completed, task.etag = not task.completed, response.headers["ETag"]

    async def _delete(self, id_: str, _: Known) -> None:
        await self._write("delete", "DELETE", f"/{id_}", 200)
        del self.tasks[id_]

    async def _delete_again(self) -> None:
        await self._write("delete of none", "DELETE", f"/{uuid.uuid4()}", 404)

    async def _refused(self, id_: str, _: Known) -> None:
        """Update a version that is gone: it is refused, and its title must never appear."""
        stale, body = {"If-Match": '"1"'}, {"title": "refused"}
        await self._write("refused update", "PUT", f"/{id_}", 412, json=body, headers=stale)

    async def _batch(self) -> None:
        """Create two tasks, toggle up to three and delete the third: all of it or nothing."""
        ids = self._chance.sample([*self.tasks], min(3, len(self.tasks)))
        expected = [(self._new_title(), False) for _ in range(2)]
        expected += [(self.tasks[id_].title, not self.tasks[id_].completed) for id_ in ids[:2]]
        operations = [
            *({"op": "create", "task": {"title": title}} for title, _ in expected[:2]),
            *({"op": "toggle", "id": id_, "if_match": self.tasks[id_].etag} for id_ in ids),
            *({"op": "delete", "id": id_} for id_ in ids[2:]),
        ]
        body = {"operations": operations}
        response = await self._write("batch", "POST", "/batch", 200, json=body)
        if response.status == 200:
            results = response.body["results"][: len(expected)]
            self._expect("batch", [_shown(each["task"]) for each in results], expected)
            for (title, completed), result in zip(expected, results, strict=True):
                self.tasks[result["task"]["id"]] = Known(title, completed, result["etag"])
            for id_ in ids[2:]:
                del self.tasks[id_]
            self._ledger.operations += len(operations)

    async def _refused_batch(self) -> None:
        """Send a batch whose last operation is refused, so that nothing of it may appear."""
        if not self.tasks:
            return
        id_ = self._chance.choice([*self.tasks])
        operations: list[dict[str, Any]] = [
            {"op": "create", "task": {"title": "refused"}},
            {"op": "toggle", "id": id_},
            {"op": "delete", "id": str(uuid.uuid4())},
        ]
        # A refused batch is not recorded, so it is no write that the table of keys would have.
        request = {"json": {"operations": operations}, "headers": _a_key()}
        response = await self._until_answered("POST", "/batch", 404, **request)
        if response.status == 404:
            self._expect("refused batch", response.body["operation"], 2)

    async def _get(self, id_: str, task: Known) -> None:
        response = await self._until_answered("GET", f"/{id_}", 200)
        if response.status == 200:
            self._expect("get", _shown(response.body), (task.title, task.completed))

    async def _list(self) -> None:
        response = await self._until_answered("GET", "", 200)
        if response.status == 200:
            shown = {task["id"]: _shown(task) for task in response.body}
            known = {id_: (task.title, task.completed) for id_, task in self.tasks.items()}
            self._expect("list", shown, known)

    async def _write(
        self,
        what: str,
        method: str,
        path: str,
        expected: int,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Response:
        body["headers"] = {**_a_key(), **(headers or {})}
        if self._chance.random() < _GIVE_UP:
            await self._give_up_on(method, path, body)
        response = await self._until_answered(method, path, expected, **body)
        self._ledger.acknowledged[what] += 1
        return response

    async def _give_up_on(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Hang up before the response comes, as a client does whose network is gone."""
        try:
            async with asyncio.timeout(self._chance.uniform(*_PATIENCE_SECONDS)):
                await self._send(method, path, **body)
        except TimeoutError:
            self._ledger.hung_up += 1

    async def _until_answered(self, method: str, path: str, expected: int, **body: Any) -> Response:
        """Send the request until it has an outcome, and wait as long as each response says."""
        started = time.perf_counter()
        while (response := await self._send(method, path, **body)).status in _AGAIN:
            self._ledger.retries += 1
            wait = float(response.headers.get("Retry-After", 0))
            if not wait:
                self._ledger.surprises.append(f"{response.status} without Retry-After")
            await asyncio.sleep(wait * (1 + self._chance.random()))
        self._ledger.done_in.append((time.perf_counter() - started) * 1000)
        if response.status != expected:
            self._ledger.surprises.append(
                f"{method} was {response.status} and not {expected}: {response.body}"
            )
        return response

    async def _send(self, method: str, path: str, **body: Any) -> Response:
        path = self._path + path
        response = await self._ledger.send(self._session, method, path, self._token, **body)
        self._ledger.replays += "Idempotency-Replayed" in response.headers
        return response

    def _new_title(self) -> str:
        self._titles += 1
        return f"{self.user} {self._titles}"

    def _expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self._ledger.surprises.append(f"{what} showed {found} and not {expected}")


def _a_key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def _shown(task: Mapping[str, Any]) -> tuple[str, bool]:
    return task["title"], task["completed"]
