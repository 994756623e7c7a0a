"""How long things take: a page as the API reads it, and writes with an index and without."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from tasks import PageRequest, store
from tests.bench import plans
from tests.bench.filling import USER, using

_WARM = 6  # from then on the server may use a plan that it keeps
_TIMES = 40
_TURNS = 5
_SECONDS = 1.0


@dataclass(frozen=True)
class Cost:
    """A page's milliseconds as the API sees them (the fastest of many), and what was read."""

    milliseconds: float
    rows: int
    buffers: int
    plan: str


def page(url: str, wanted: PageRequest) -> Cost:
    """The cost of the first page."""
    return pages((url, wanted))[0]


def pages(*asked: tuple[str, PageRequest]) -> list[Cost]:
    """The costs of pages that are to be compared: taken in turns, so that what else the machine
    does in the meantime is in all of them.
    """
    fastest = [_time(url, wanted) for url, wanted in asked]
    for _ in range(_TURNS - 1):
        again = [_time(url, wanted) for url, wanted in asked]
        fastest = [min(pair) for pair in zip(fastest, again, strict=True)]
    return [
        _cost(url, wanted, seconds) for (url, wanted), seconds in zip(asked, fastest, strict=True)
    ]


def _time(url: str, wanted: PageRequest) -> float:
    with using(url):
        return _fastest(lambda: store.list_page(USER, wanted))


def _cost(url: str, wanted: PageRequest, seconds: float) -> Cost:
    with using(url):
        explained = plans.plan(wanted)
        top = explained["Plan"]
        buffers = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
        return Cost(seconds * 1000, plans.rows_read(explained), buffers, plans.text(wanted))


def writes(url: str) -> dict[str, float]:
    """Microseconds a row of writes by the ten thousand, none of which stays."""
    mine = "user_id IN (SELECT 'user-' || n FROM generate_series(1, 10) AS n)"
    statements = {
        "insert": "INSERT INTO tasks (user_id, id, title, completed)"
        " SELECT 'user-' || n %% 9000, gen_random_uuid(), 'A task', false"
        " FROM generate_series(1, 10000) AS n",
        "update of the title": f"UPDATE tasks SET title = 'Other', updated_at = now() WHERE {mine}",
        "toggle": f"UPDATE tasks SET completed = NOT completed, updated_at = now() WHERE {mine}",
    }
    with psycopg.connect(url) as connection:
        return {name: _per_row(connection, sql) for name, sql in statements.items()}


def _per_row(connection: psycopg.Connection, sql: str) -> float:
    """The fastest of a few; each is rolled back, and what it left behind is removed."""
    found: list[float] = []
    for _ in range(5):
        connection.autocommit = False
        started = time.perf_counter()
        count = connection.execute(sql.replace("%%", "%").encode()).rowcount
        found.append((time.perf_counter() - started) / count)
        connection.rollback()
        connection.autocommit = True
        connection.execute("VACUUM tasks")
    return min(found) * 1_000_000


def _fastest(call: Callable[[], object]) -> float:
    found: list[float] = []
    end = time.monotonic() + _SECONDS
    while len(found) < _WARM + _TIMES and (not found or time.monotonic() < end):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found)
