"""What a page costs among ten million tasks; `make bench-paging` writes docs/paging.md's tables.

Every figure is of a list as the API reads it: by the API's role, with row-level security, over one
connection, parsed into tasks. The command fails when a page by `created` costs more than 1.5 times
what it costs in a table of a thousand.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench import report
from bench.contenders import ROOT
from bench.databases import folder_for_servers, new_database
from tasks import store
from tasks.orders import Sort, Status
from tasks.paging import PageRequest
from tests.bench import plans
from tests.bench.filling import USER, after, fill, using
from tests.neon.servers import Postgres

ALL, MOST, LIMIT = 10_000_000, 1.5, 100
_INDEX = "tasks_by_status"
_SIZES = {"small": (1_000, 1), "medium": (10_000, 1), "large": (ALL, 10)}
_CREATED = PageRequest(limit=LIMIT)
_PENDING = PageRequest(status=Status.PENDING, limit=LIMIT)
_COMPLETED = PageRequest(status=Status.COMPLETED, limit=LIMIT)
_BY_CREATED = {
    "first": (_CREATED, 0.0),
    "middle": (_CREATED, 0.5),
    "last": (_CREATED, 1.0),
    "first, newest first": (PageRequest(sort=Sort.CREATED_DESCENDING, limit=LIMIT), 0.0),
}
_BY_STATUS = {
    "`pending`, first": (_PENDING, 0.0),
    "`completed`, first": (_COMPLETED, 0.0),
    "`completed`, middle": (_COMPLETED, 0.5),
}
_OTHERS = {
    "`sort=title`": PageRequest(sort=Sort.TITLE, limit=LIMIT),
    "`sort=updated`": PageRequest(sort=Sort.UPDATED, limit=LIMIT),
    "`q` that most tasks have": PageRequest(q="described", limit=LIMIT),
    "`q` that no task has": PageRequest(q="nothing like it", limit=LIMIT),
}
_MINE = "user_id IN (SELECT 'user-' || n FROM generate_series(1, 10) AS n)"
_WRITES = {
    "insert": "INSERT INTO tasks (user_id, id, title, completed)"
    " SELECT 'user-' || n % 9000, gen_random_uuid(), 'A task', false"
    " FROM generate_series(1, 10000) AS n",
    "update of the title": f"UPDATE tasks SET title = 'Other', updated_at = now() WHERE {_MINE}",
    "toggle": f"UPDATE tasks SET completed = NOT completed, updated_at = now() WHERE {_MINE}",
}
Rows = list[list[str]]


@dataclass(frozen=True)
class Cost:
    """A page's milliseconds as the API sees them (the fastest of many), and what was read."""

    milliseconds: float
    rows: int
    buffers: int
    plan: str


def main() -> int:
    """Fill, measure and write the page; return 1 when a page by `created` costs too much."""
    with _filled() as (small, medium, large):
        _say("measuring")
        created = _compared(small, large, _BY_CREATED)
        status = _compared(small, large, _BY_STATUS)
        others = {name: pages(*((url, wanted) for url in (small, medium, large)))
                  for name, wanted in _OTHERS.items()}  # fmt: skip
        aided, index = writes(large), _size(large, _INDEX)
        with psycopg.connect(large, autocommit=True) as connection:
            connection.execute(f"DROP INDEX {_INDEX}".encode())
        unaided, (alone,) = writes(large), pages((large, _PENDING))
        parts = {
            "conditions": _conditions(small),
            "created": _comparison(created),
            "status": _comparison(status),
            "without": f"Without the index the first pending page takes {alone.milliseconds:.0f} ms"
            f" and reads {alone.rows:,} rows. The index takes {index} in the large table, the"
            f" primary key {_size(large, 'tasks_pkey')}.",
            "writes": _table("| microseconds a row | with | without |",
                             [[name, f"{aided[name]:.1f}", f"{unaided[name]:.1f}"]
                              for name in _WRITES]),
            "others": _table("| ms | 1,000 tasks | 10,000 tasks | 1,000,000 of 10,000,000 |",
                             [[name, *(f"{cost.milliseconds:.1f}" for cost in costs)]
                              for name, costs in others.items()]),
            "plan-created": _plan(created["middle"][1]),
            "plan-status": _plan(status["`pending`, first"][1]),
            "plan-title": _plan(others["`sort=title`"][2]),
        }  # fmt: skip
    report.update(ROOT / "docs" / "paging.md", parts)
    worst = max(big.milliseconds / little.milliseconds for little, big in created.values())
    _say(f"wrote docs/paging.md; the worst ratio by `created` is {worst:.2f}")
    return 0 if worst <= MOST else 1


@contextmanager
def _filled() -> Iterator[list[str]]:
    """Make databases with a thousand, ten thousand and ten million tasks, and remove them."""
    parent = Path(tempfile.mkdtemp(prefix="paging"))
    try:
        with Postgres(folder_for_servers(parent)) as postgres:
            postgres.admin("ALTER SYSTEM SET max_wal_size = '16GB'", "SELECT pg_reload_conf()")
            urls = []
            for name, (count, share) in _SIZES.items():
                started = time.monotonic()
                urls.append(new_database(postgres, name))
                fill(urls[-1], count, share=share)
                _say(f"filled {count:,} tasks in {time.monotonic() - started:.0f} s")
            yield urls
    finally:
        shutil.rmtree(parent)


def _compared(
    small: str, large: str, asked: dict[str, tuple[PageRequest, float]]
) -> dict[str, list[Cost]]:
    """Return the costs of the pages that start so far down in both lists."""
    return {
        name: pages(
            (small, _from(small, wanted, part, 1_000)),
            (large, _from(large, wanted, part, ALL // 10)),
        )
        for name, (wanted, part) in asked.items()
    }


def _from(url: str, wanted: PageRequest, part: float, count: int) -> PageRequest:
    """Return the request of the page so far down; 1 is the last full page."""
    if not part:
        return wanted
    with using(url):
        return after(url, wanted, min(part, 1 - LIMIT / count))


def pages(*asked: tuple[str, PageRequest]) -> list[Cost]:
    """Return the costs of pages, taken in turns so that other work hits all of them."""
    rounds = [[_seconds(url, wanted) for url, wanted in asked] for _ in range(5)]
    fastest = [min(each) for each in zip(*rounds, strict=True)]
    return [_cost(*each, seconds) for each, seconds in zip(asked, fastest, strict=True)]


def _seconds(url: str, wanted: PageRequest) -> float:
    with using(url):
        return _fastest(lambda: store.list_page(USER, wanted), 46)


def _fastest(call: Callable[[], object], times: int) -> float:
    """Return the least seconds of so many calls, or of those that one second allows."""
    found: list[float] = []
    end = time.monotonic() + 1
    while len(found) < times and (not found or time.monotonic() < end):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found)


def _cost(url: str, wanted: PageRequest, seconds: float) -> Cost:
    with using(url):
        explained = plans.plan(wanted)
        top = explained["Plan"]
        buffers = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
        return Cost(seconds * 1000, plans.rows_read(explained), buffers, plans.text(wanted))


def writes(url: str) -> dict[str, float]:
    """Return microseconds a row of writes of ten thousand rows, the fastest of five each."""
    with psycopg.connect(url, autocommit=True) as connection:
        return {name: min(_per_row(connection, sql) for _ in range(5)) * 1e6
                for name, sql in _WRITES.items()}  # fmt: skip


def _per_row(connection: psycopg.Connection, sql: str) -> float:
    """Roll the write back, and remove what it leaves behind."""
    with connection.transaction(force_rollback=True):
        started = time.perf_counter()
        count = connection.execute(sql.encode()).rowcount
        seconds = time.perf_counter() - started
    connection.execute("VACUUM tasks")
    return seconds / count


def _conditions(url: str) -> str:
    with psycopg.connect(url) as connection:
        version = connection.info.server_version // 10_000
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by `make bench-paging`: Postgres {version} on a"
        f" machine with {os.cpu_count()} processors."
    )


def _comparison(costs: dict[str, list[Cost]]) -> str:
    rows: Rows = []
    for name, (little, big) in costs.items():
        ratio = big.milliseconds / little.milliseconds
        times = [f"{little.milliseconds:.2f} ms", f"{big.milliseconds:.2f} ms", f"{ratio:.2f}"]
        rows.append([name, *times, f"{big.rows}", f"{little.buffers}, {big.buffers}"])
    return _table(
        "| page | of a thousand | of a million in ten | ratio | rows read | buffers of 8 kB |", rows
    )


def _table(head: str, rows: Rows) -> str:
    lines = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *lines])


def _plan(cost: Cost) -> str:
    return f"```\n{cost.plan}\n```"


def _size(url: str, name: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_size_pretty(pg_relation_size(%s::regclass))", [name])
        return str(row.fetchall()[0][0])


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
