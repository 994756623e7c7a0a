"""One run of the flood: quiet and flooded windows by turns, with the latency of honest clients.

The flood has the rate of the template's throttle, because no function sees a request beyond it.
Each of its tokens is new, so no cache answers for the authorizer. An honest client keeps its token,
as clients do, and the gateway caches the authorizer's response.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import aiohttp
import psutil
from samtranslator.yaml_helper import yaml_parse

from local.postgres import Postgres
from local.token import make_token
from tests.running import ROOT, Running, running

HONEST = 8
MOST_RATIO = 2.0
_PAUSE_SECONDS = 0.2  # that an honest client makes after each response
_WINDOW_SECONDS = 10.0
_SETTINGS = {"JWT_SECRET": "a-secret-that-only-this-run-knows-0123456789"}


@dataclass
class Felt:
    """The latencies of the honest clients, in milliseconds, for the windows of one kind."""

    windows: list[list[float]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        """Return how many of the requests failed."""
        return sum(count for status, count in self.statuses.items() if status >= 400)

    def percentile(self, percent: int) -> float:
        """Return the percentile of the requests of all windows."""
        return _percentile([each for window in self.windows for each in window], percent)


@dataclass
class Result:
    """The honest clients without and with the flood, and the statuses that the flood got."""

    rate: float
    quiet: Felt = field(default_factory=Felt)
    flooded: Felt = field(default_factory=Felt)
    flood: Counter[int] = field(default_factory=Counter)
    environments: int = 0

    @property
    def ratio(self) -> float:
        """Return the median over the rounds of the p99 under the flood divided by the quiet p99.

        Each round has both windows, so other work on the machine disturbs both alike.
        """
        both = zip(self.quiet.windows, self.flooded.windows, strict=True)
        return statistics.median(
            _percentile(after, 99) / _percentile(before, 99) for before, after in both
        )

    @property
    def failed(self) -> int:
        """Return how many requests of honest clients failed."""
        return self.quiet.failed + self.flooded.failed

    def table(self) -> str:
        """Return the figures as a Markdown table."""
        lines = [
            "| | requests | failed | p50, ms | p95, ms | p99, ms |",
            "|---|---|---|---|---|---|",
        ]
        for name, felt in (("quiet", self.quiet), ("under the flood", self.flooded)):
            times = " | ".join(f"{felt.percentile(percent):.1f}" for percent in (50, 95, 99))
            lines.append(f"| {name} | {felt.statuses.total()} | {felt.failed} | {times} |")
        answers = ", ".join(f"{status}: {count}" for status, count in sorted(self.flood.items()))
        said = (
            f"Ratio of the p99, median of {len(self.quiet.windows)} rounds: {self.ratio:.2f}."
            f" The flood, {self.rate:g} requests/s, was answered {answers}."
            f" Environments at the end: {self.environments}."
        )
        return "\n".join([*lines, "", said])


def default(parameter: str) -> float:
    """Return the default of one of the template's numeric parameters."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    return float(template["Parameters"][parameter]["Default"])


def run(seconds: float, rounds: int, at_once: int) -> Result:
    """Start the API on a database of its own, and let honest clients work through the rounds.

    The flood waits while `at_once` of its requests have no response yet.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # Postgres runs as another account if the tests run as root
        with (
            Postgres(Path(folder) / "postgres") as postgres,
            running({**_SETTINGS, "DATABASE_URL": postgres.url}) as api,
        ):
            return asyncio.run(_rounds(api, seconds, rounds, asyncio.Semaphore(at_once)))


def main(rounds: int) -> int:
    """Run, print the table, and return 1 if an honest client failed or waited too long."""
    result = run(_WINDOW_SECONDS, rounds, at_once=int(default("ThrottleBurst")))
    print(result.table())
    return 0 if result.failed == 0 and result.ratio <= MOST_RATIO else 1


async def _rounds(api: Running, seconds: float, rounds: int, free: asyncio.Semaphore) -> Result:
    result = Result(default("ThrottleRate"))
    tokens = {
        f"honest-{number}": make_token(f"honest-{number}", _SETTINGS) for number in range(HONEST)
    }
    async with aiohttp.ClientSession(api.url, connector=aiohttp.TCPConnector(limit=0)) as session:
        await _window(session, tokens, Felt(), 1.0)  # starts the environments
        for _ in range(rounds):
            await _window(session, tokens, result.quiet, seconds)
            async with asyncio.TaskGroup() as both:
                both.create_task(_flood(session, result, seconds, free))
                both.create_task(_window(session, tokens, result.flooded, seconds))
        result.environments = _environments(api)
    return result


async def _window(
    session: aiohttp.ClientSession, tokens: dict[str, str], felt: Felt, seconds: float
) -> None:
    milliseconds: list[float] = []
    async with asyncio.TaskGroup() as clients:
        for user, token in tokens.items():
            end = time.monotonic() + seconds
            clients.create_task(_honest(session, user, token, end, milliseconds, felt.statuses))
    felt.windows.append(milliseconds)


async def _honest(
    session: aiohttp.ClientSession,
    user: str,
    token: str,
    end: float,
    milliseconds: list[float],
    statuses: Counter[int],
) -> None:
    """Create, list and complete tasks as one honest client until the time is over."""
    task, headers = "", {"Authorization": f"Bearer {token}"}
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
        milliseconds.append((time.perf_counter() - started) * 1000)
        statuses[response.status] += 1
        task = answer["id"] if act == "create" and response.ok else task
        await asyncio.sleep(_PAUSE_SECONDS)


async def _flood(
    session: aiohttp.ClientSession, result: Result, seconds: float, free: asyncio.Semaphore
) -> None:
    """Send the junk evenly for so many seconds."""
    started = time.monotonic()
    async with asyncio.TaskGroup() as junk:
        for number in range(int(result.rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / result.rate - time.monotonic()))
            if time.monotonic() - started > seconds:
                return
            await free.acquire()
            sent = junk.create_task(_junk(session, result.flood))
            sent.add_done_callback(lambda _: free.release())


async def _junk(session: aiohttp.ClientSession, answers: Counter[int]) -> None:
    user = secrets.token_hex(4)
    headers = {"Authorization": f"Bearer {secrets.token_urlsafe(24)}.{user}.{user}"}
    async with session.get(f"/api/{user}/tasks", headers=headers) as response:
        await response.read()
    answers[response.status] += 1


def _environments(api: Running) -> int:
    """Return how many execution environments the API has started and not ended."""
    children = psutil.Process(api.process.pid).children(recursive=True)
    return sum("awslambdaric" in " ".join(child.cmdline()) for child in children)


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]
