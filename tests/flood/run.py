"""One run of the flood: quiet and flooded windows by turns, with the latency of honest clients.

The flood has the rate of the template's throttle, because no function sees a request beyond it.
Each of its tokens is new, so no cache answers for the authorizer. An honest client keeps its token,
as clients do, and the gateway caches the authorizer's response.

`python -m tests.flood.run [ROUNDS]` prints the account, and exits with 1 if it is not good.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from samtranslator.yaml_helper import yaml_parse

from local.postgres import Postgres
from tests.load import SECRET, Record, counts, environments, session_of, token_of
from tests.running import ROOT, Running, running

HONEST = 8
MOST_RATIO = 2.0
SEARCHES = 50
_PAUSE_SECONDS = 0.2  # that an honest client makes after each response
_WINDOW_SECONDS = 10.0
_GREEDY = "greedy"


@dataclass
class Result:
    """The honest clients' windows without and with the flood, and the flood's responses."""

    rate: float
    quiet: list[Record] = field(default_factory=list)
    flooded: list[Record] = field(default_factory=list)
    flood: Record = field(default_factory=Record)
    environments: int = 0

    @property
    def ratio(self) -> float:
        """Return the median over the rounds of the p99 under the flood divided by the quiet p99.

        Each round has both windows, so other work on the machine disturbs both alike.
        """
        both = zip(self.quiet, self.flooded, strict=True)
        return statistics.median(
            after.percentile(99) / quiet.percentile(99) for quiet, after in both
        )

    @property
    def failed(self) -> int:
        """Return how many requests of honest clients failed."""
        return sum(_failed(each) for each in self.quiet + self.flooded)

    def table(self) -> str:
        """Return the figures as a Markdown table."""
        lines = ["| | requests | failed | p50, ms | p95, ms | p99, ms |", "|---|" + "---|" * 5]
        for name, windows in (("quiet", self.quiet), ("under the flood", self.flooded)):
            felt = Record(milliseconds=[each for one in windows for each in one.milliseconds])
            times = " | ".join(f"{felt.percentile(percent):.1f}" for percent in (50, 95, 99))
            failed = sum(_failed(each) for each in windows)
            lines.append(f"| {name} | {len(felt.milliseconds)} | {failed} | {times} |")
        said = (
            f"Ratio of the p99, median of {len(self.quiet)} rounds: {self.ratio:.2f}."
            f" The flood, {self.rate:g} requests/s, was answered {counts(self.flood.statuses)}."
            f" Environments at the end: {self.environments}."
        )
        return "\n".join([*lines, "", said])


Flood = Callable[[aiohttp.ClientSession, Result, float], Coroutine[Any, Any, None]]


def _failed(record: Record) -> int:
    return sum(count for status, count in record.statuses.items() if status >= 400)


def default(parameter: str) -> float:
    """Return the default of one of the template's numeric parameters."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    return float(template["Parameters"][parameter]["Default"])


def run(seconds: float, rounds: int, at_once: int, *, searches: bool = False) -> Result:
    """Start the API on a database of its own, and let honest clients work through the rounds.

    The flood waits while `at_once` of its requests have no response yet. With `searches`, it is one
    user's lists, `at_once` of them in parallel, who has as many tasks as the quota allows.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # Postgres runs as another account if the tests run as root
        with (
            Postgres(Path(folder) / "postgres") as postgres,
            running({"JWT_SECRET": SECRET, "DATABASE_URL": postgres.url}) as api,
        ):
            if searches:
                _fill(postgres.url)
                flood: Flood = partial(_search, at_once)
            else:
                flood = partial(_flood, asyncio.Semaphore(at_once))
            return asyncio.run(_rounds(api, seconds, rounds, flood))


def _fill(url: str) -> None:
    """Give the greedy user as many tasks as the quota allows, with the longest texts."""
    insert = """
    INSERT INTO tasks (user_id, id, title, description)
    SELECT %s, gen_random_uuid(), repeat(md5(n::text), 15), repeat(md5(n::text), 156)
    FROM generate_series(1, %s) AS n
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(insert, (_GREEDY, int(default("MaxTasksPerUser"))))
        connection.execute("VACUUM (ANALYZE) tasks")


async def _search(
    at_once: int, session: aiohttp.ClientSession, result: Result, seconds: float
) -> None:
    """Search for what no task has, as often as the API answers."""
    path, end = f"/api/{_GREEDY}/tasks?q=nobody+has+it", time.monotonic() + seconds

    async def search() -> None:
        while time.monotonic() < end:
            response = await result.flood.send(session, "GET", path, token_of(_GREEDY))
            await asyncio.sleep(float(response.headers.get("Retry-After", 0)))

    async with asyncio.TaskGroup() as searches:
        for _ in range(at_once):
            searches.create_task(search())


async def _rounds(api: Running, seconds: float, rounds: int, flood: Flood) -> Result:
    result = Result(default("ThrottleRate"))
    async with session_of(api) as session:
        await _window(session, 1.0)  # starts the environments
        for _ in range(rounds):
            result.quiet.append(await _window(session, seconds))
            async with asyncio.TaskGroup() as both:
                both.create_task(flood(session, result, seconds))
                window = both.create_task(_window(session, seconds))
            result.flooded.append(window.result())
        result.environments = environments(api)
    return result


async def _window(session: aiohttp.ClientSession, seconds: float) -> Record:
    felt, end = Record(), time.monotonic() + seconds
    async with asyncio.TaskGroup() as clients:
        for number in range(HONEST):
            clients.create_task(_honest(session, f"honest-{number}", end, felt))
    return felt


async def _honest(session: aiohttp.ClientSession, user: str, end: float, felt: Record) -> None:
    """Create, list and complete tasks as one honest client until the time is over."""
    task, path, token = "", f"/api/{user}/tasks", token_of(user)
    for act in cycle(("create", "list", "toggle")):
        if time.monotonic() >= end:
            return
        method, place, body = {
            "create": ("POST", path, {"title": "Water the plants"}),
            "list": ("GET", f"{path}?limit=20", None),
            "toggle": ("PATCH", f"{path}/{task}/complete", None),
        }[act]
        response = await felt.send(session, method, place, token, json=body)
        task = response.body["id"] if response.status == 201 else task
        await asyncio.sleep(_PAUSE_SECONDS)


async def _flood(
    free: asyncio.Semaphore, session: aiohttp.ClientSession, result: Result, seconds: float
) -> None:
    """Send the junk evenly for so many seconds."""
    started = time.monotonic()
    async with asyncio.TaskGroup() as junk:
        for number in range(int(result.rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / result.rate - time.monotonic()))
            if time.monotonic() - started > seconds:
                return
            await free.acquire()
            user = secrets.token_hex(4)
            token = f"{secrets.token_urlsafe(24)}.{user}.{user}"
            path = f"/api/{user}/tasks"
            sent = junk.create_task(result.flood.send(session, "GET", path, token))
            sent.add_done_callback(lambda _: free.release())


if __name__ == "__main__":
    result = run(_WINDOW_SECONDS, int(sys.argv[1]), at_once=int(default("ThrottleBurst")))
    print(result.table())
    searched = run(_WINDOW_SECONDS, int(sys.argv[1]), at_once=SEARCHES, searches=True)
    print(f"\nThe same under {SEARCHES} searches of one user in parallel:\n\n{searched.table()}")
    sys.exit(result.failed + searched.failed > 0 or result.ratio > MOST_RATIO)
