"""A customer who follows the contract: each write has a key and is sent until it is answered."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.chaos.ledger import Ledger

# In use, too many requests, unavailable: try again. Any other status is the outcome.
_AGAIN = {409, 429, 503}
# The share of the writes that the client gives up on and then sends again.
_GIVE_UP = 0.05
_PATIENCE_SECONDS = (0.0, 0.2)


@dataclass
class Known:
    """A task as its customer knows it, with the ETag of the last response."""

    title: str
    completed: bool
    etag: str


@dataclass(frozen=True)
class Answer:
    """The response that was the outcome."""

    status: int
    body: Any
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
        self._headers = {"Authorization": f"Bearer {token}"}
        self._ledger = ledger
        self._chance = chance
        self._titles = 0

    async def live(self, over: asyncio.Event) -> None:
        """Use the API until it is over, and finish what was begun."""
        acts = [
            *[self._create] * 3,
            *[self._update] * 3,
            *[self._toggle] * 3,
            *[self._delete, self._delete_again, self._refused, self._get, self._list],
        ]
        while not over.is_set():
            await self._chance.choice(acts)()

    async def _create(self) -> None:
        title = self._new_title()
        answer = await self._write("create", "POST", self._path, 201, json={"title": title})
        if answer.status == 201:
            self._expect("create", answer.body["title"], title)
            self.tasks[answer.body["id"]] = Known(title, completed=False, etag=answer.etag)

    async def _update(self) -> None:
        if not (id_ := self._any()):
            return
        task, title = self.tasks[id_], self._new_title()
        match = {"If-Match": task.etag} if self._chance.random() < 0.5 else {}
        answer = await self._write(
            "update", "PUT", f"{self._path}/{id_}", 200, json={"title": title}, headers=match
        )
        if answer.status == 200:
            self._expect("update", answer.body["title"], title)
            task.title, task.etag = title, answer.etag

    async def _toggle(self) -> None:
        """Toggle a task. Two toggles would look like none, so a doubled write shows."""
        if not (id_ := self._any()):
            return
        task = self.tasks[id_]
        answer = await self._write("toggle", "PATCH", f"{self._path}/{id_}/complete", 200)
        if answer.status == 200:
            self._expect("toggle", answer.body["completed"], not task.completed)
            task.completed, task.etag = not task.completed, answer.etag

    async def _delete(self) -> None:
        if id_ := self._any():
            await self._write("delete", "DELETE", f"{self._path}/{id_}", 200)
            del self.tasks[id_]

    async def _delete_again(self) -> None:
        await self._write("delete of none", "DELETE", f"{self._path}/{uuid.uuid4()}", 404)

    async def _refused(self) -> None:
        """Update a version that is gone: it is refused, and its title must never appear."""
        if id_ := self._any():
            stale = {"If-Match": '"1"'}
            path, body = f"{self._path}/{id_}", {"title": "refused"}
            await self._write("refused update", "PUT", path, 412, json=body, headers=stale)

    async def _get(self) -> None:
        if id_ := self._any():
            answer = await self._until_answered("GET", f"{self._path}/{id_}", 200)
            if answer.status == 200:
                self._expect("get", _shown(answer.body), self._known(id_))

    async def _list(self) -> None:
        answer = await self._until_answered("GET", self._path, 200)
        if answer.status == 200:
            shown = {task["id"]: _shown(task) for task in answer.body}
            self._expect("list", shown, {id_: self._known(id_) for id_ in self.tasks})

    async def _write(
        self,
        what: str,
        method: str,
        path: str,
        expected: int,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Answer:
        key = {"Idempotency-Key": str(uuid.uuid4()), **(headers or {})}
        if self._chance.random() < _GIVE_UP:
            await self._give_up_on(method, path, {**self._headers, **key}, **body)
        answer = await self._until_answered(method, path, expected, headers=key, **body)
        self._ledger.acknowledged[what] += 1
        return answer

    async def _give_up_on(
        self, method: str, path: str, headers: Mapping[str, str], **body: Any
    ) -> None:
        """Hang up before the response comes, as a client does whose network is gone."""
        request = self._session.request(method, path, headers=headers, **body)
        try:
            async with asyncio.timeout(self._chance.uniform(*_PATIENCE_SECONDS)), request:
                return
        except TimeoutError:
            self._ledger.faults["client hung up"] += 1
            self._ledger.retries += 1

    async def _until_answered(
        self, method: str, path: str, expected: int, headers: Mapping[str, str] = {}, **body: Any
    ) -> Answer:
        """Send the request until it has an outcome, and wait as long as each response says."""
        started = time.monotonic()
        while True:
            answer, wait = await self._send(method, path, {**self._headers, **headers}, **body)
            if answer.status not in _AGAIN:
                break
            self._ledger.retries += 1
            await asyncio.sleep(wait * (1 + self._chance.random()))
        self._ledger.done_in.append(time.monotonic() - started)
        if answer.status != expected:
            self._ledger.surprises.append(
                f"{method} was {answer.status} and not {expected}: {answer.body}"
            )
        return answer

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], **body: Any
    ) -> tuple[Answer, float]:
        started = time.monotonic()
        async with self._session.request(method, path, headers=headers, **body) as response:
            content = await response.json(content_type=None)
        self._ledger.answered_in.append(time.monotonic() - started)
        self._ledger.statuses[response.status] += 1
        self._ledger.replays += "Idempotency-Replayed" in response.headers
        wait = float(response.headers.get("Retry-After", 0))
        if response.status in _AGAIN and not wait:
            self._ledger.surprises.append(f"{response.status} without Retry-After")
        return Answer(response.status, content, response.headers.get("ETag", "")), wait

    def _any(self) -> str | None:
        return self._chance.choice(list(self.tasks)) if self.tasks else None

    def _known(self, id_: str) -> tuple[str, bool]:
        return self.tasks[id_].title, self.tasks[id_].completed

    def _new_title(self) -> str:
        self._titles += 1
        return f"{self.user} {self._titles}"

    def _expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self._ledger.surprises.append(f"{what} showed {found} and not {expected}")


def _shown(task: Mapping[str, Any]) -> tuple[str, bool]:
    return task["title"], task["completed"]
