"""One run: quiet seconds and seconds under the flood by turns, and what the honest clients felt.

The flood is as fast as the deployed API lets it be: requests beyond the throttle of the template
never reach a function. Each of its tokens is a new one, so that no cache answers for the authorizer.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle

import aiohttp

from local.token import make_token

HONEST = 8
_HONEST_PAUSE_SECONDS = 0.2
_SECRET = "a-secret-that-only-this-run-knows-0123456789"

SETTINGS = {"JWT_SECRET": _SECRET}


@dataclass
class Felt:
    """What the honest clients felt in one kind of seconds."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def p99(self) -> float:
        """The 99th percentile of their requests' milliseconds."""
        return statistics.quantiles(self.milliseconds, n=100)[98]

    @property
    def failed(self) -> int:
        """How many of their requests did not succeed."""
        return sum(count for status, count in self.statuses.items() if status >= 400)


@dataclass
class Result:
    """The honest clients without and with the flood, and what the flood was answered."""

    quiet: Felt = field(default_factory=Felt)
    flooded: Felt = field(default_factory=Felt)
    flood: Counter[int] = field(default_factory=Counter)

    @property
    def ratio(self) -> float:
        """The p99 of the honest clients under the flood by their p99 without it."""
        return self.flooded.p99 / self.quiet.p99

    def __str__(self) -> str:
        rows = [("", "requests", "failed", "p50, ms", "p99, ms")]
        for name, felt in (("quiet", self.quiet), ("under the flood", self.flooded)):
            p50 = statistics.median(felt.milliseconds)
            rows.append(
                (name, str(felt.statuses.total()), str(felt.failed), f"{p50:.1f}", f"{felt.p99:.1f}")
            )
        table = "\n".join("  {:<16}{:>10}{:>8}{:>10}{:>10}".format(*row) for row in rows)
        answers = ", ".join(f"{status}: {count}" for status, count in sorted(self.flood.items()))
        return f"{table}\n  the flood was answered {answers}; p99 ratio {self.ratio:.2f}"


async def run(url: str, *, rate: float, seconds: float, rounds: int) -> Result:
    """Let the honest clients work through `rounds` of quiet and flooded seconds."""
    result = Result()
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(_honest(session, n, Felt(), 1.0) for n in range(HONEST)))  # warm
        for _ in range(rounds):
            await _window(session, result.quiet, seconds)
            flood = asyncio.create_task(_flood(session, rate, seconds, result.flood))
            await _window(session, result.flooded, seconds)
            await flood
    return result


async def _window(session: aiohttp.ClientSession, felt: Felt, seconds: float) -> None:
    await asyncio.gather(*(_honest(session, number, felt, seconds) for number in range(HONEST)))


async def _honest(session: aiohttp.ClientSession, number: int, felt: Felt, seconds: float) -> None:
    """One client that creates, lists and completes tasks until its time is over."""
    user, task = f"honest-{number}", ""
    headers = {"Authorization": f"Bearer {make_token(user, SETTINGS)}"}
    end = time.monotonic() + seconds
    for act in cycle(("create", "list", "toggle")):
        if time.monotonic() >= end:
            return
        method, path, body = {
            "create": ("POST", f"/api/{user}/tasks", {"title": "Water the plants"}),
            "list": ("GET", f"/api/{user}/tasks?limit=20", None),
            "toggle": ("PATCH", f"/api/{user}/tasks/{task}/complete", None),
        }[act]
        started = time.perf_counter()
        async with session.request(method, path, json=body, headers=headers) as response:
            answer = await response.json()
        felt.milliseconds.append((time.perf_counter() - started) * 1000)
        felt.statuses[response.status] += 1
        task = answer["id"] if act == "create" and response.ok else task
        await asyncio.sleep(_HONEST_PAUSE_SECONDS)


async def _flood(
    session: aiohttp.ClientSession, rate: float, seconds: float, answers: Counter[int]
) -> None:
    """Send `rate` requests a second, evenly, whether or not the earlier ones were answered."""
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            group.create_task(_junk(session, answers))


async def _junk(session: aiohttp.ClientSession, answers: Counter[int]) -> None:
    user = secrets.token_hex(4)
    headers = {"Authorization": f"Bearer {secrets.token_urlsafe(24)}.{user}.{user}"}
    async with session.get(f"/api/{user}/tasks", headers=headers) as response:
        await response.read()
    answers[response.status] += 1
