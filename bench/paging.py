"""What a page costs among ten million tasks; `make bench-paging` writes docs/paging.md's tables.

Every figure is of a list as the API reads it: by the API's role, with row-level security, over one
connection, parsed into tasks. The command fails when a page by `created` costs more than 1.5 times
what it costs in a table of a thousand.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import psycopg

from bench import report
from bench.contenders import ROOT
from bench.databases import new_database
from bench.servers import Postgres
from neon import Effect, Statement
from tasks import store
from tasks.database import acting_as, database
from tasks.models import Task
from tasks.orders import Sort, Status
from tasks.paging import PageRequest

USER, LIMIT, MOST = "the-user", 100, 1.5
_SIZES = {1_000: 1, 10_000: 1, 10_000_000: 10}  # of so many tasks every n-th is the user's
_CREATED = PageRequest(limit=LIMIT)
_COMPLETED = _CREATED._replace(status=Status.COMPLETED)
# By name: the list, and after which part of the table its page starts.
PAGES = {
    "by `created`: first": (_CREATED, 0.0),
    "by `created`: middle": (_CREATED, 0.5),
    "by `created`: last": (_CREATED, 1.0),
    "by `created`: newest first": (_CREATED._replace(sort=Sort.CREATED_DESCENDING), 0.0),
    "`pending`: first": (_CREATED._replace(status=Status.PENDING), 0.0),
    "`completed`: first": (_COMPLETED, 0.0),
    "`completed`: middle": (_COMPLETED, 0.45),
    "`sort=title`: first": (_CREATED._replace(sort=Sort.TITLE), 0.0),
    "`sort=updated`: first": (_CREATED._replace(sort=Sort.UPDATED), 0.0),
    "`q` that most tasks have": (_CREATED._replace(q="described"), 0.0),
    "`q` that no task has": (_CREATED._replace(q="nothing like it"), 0.0),
}
# All users' tasks come in turn, as in life; the older part of them is completed.
_FILL = """
INSERT INTO tasks (user_id, id, title, description, completed, created_at, updated_at)
SELECT CASE WHEN n %% %(share)s = 0 THEN %(user)s ELSE 'user-' || n %% 9000 END,
       (lpad(to_hex(1795000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
       'Task ' || md5(n::text),
       'It is described in one line of fifty characters: ' || n,
       n < %(count)s * 0.9,
       timestamptz '2026-11-21' + n * interval '1 millisecond',
       timestamptz '2026-11-21' + n * interval '1 millisecond'
           + (hashint4(n) %% 1000) * interval '1 hour'
FROM generate_series(1, %(count)s) AS n
"""
_INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE tablename = 'tasks' AND indexname <> 'tasks_pkey'
"""


def main() -> int:
    """Fill, measure and write the page; return 1 when a page by `created` costs too much."""
    with _filled() as urls:
        times = _times(urls)
        with using(urls[-1]):
            plans = {name: plan(page(name, *[*_SIZES.items()][-1])) for name in PAGES}
    heads = [f"of {size // share:,}" for size, share in _SIZES.items()]
    rows = [["page, ms", *heads, "rows read", "buffers of 8 kB", "found by"]]
    for name, each in times.items():
        top = plans[name]["Plan"]
        buffers = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
        cells = [*(f"{seconds * 1000:.2f}" for seconds in each), f"{rows_read(plans[name]):,}"]
        rows.append([name, *cells, f"{buffers:,}", ", ".join(found_by(plans[name]))])
    measured = f"Measured on {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} processors."
    parts = {"conditions": measured, "pages": report.table(rows)}
    report.update(ROOT / "docs" / "paging.md", parts)
    worst = max(each[-1] / each[0] for name, each in times.items() if "by `created`" in name)
    _say(f"wrote docs/paging.md; the worst ratio by `created` is {worst:.2f}")
    return 0 if worst <= MOST else 1


@contextmanager
def _filled() -> Iterator[list[str]]:
    """Make a database of each size, and remove it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the server runs as another account
        with Postgres(Path(folder) / "postgres") as postgres:
            postgres.admin("ALTER SYSTEM SET max_wal_size = '16GB'", "SELECT pg_reload_conf()")
            urls = []
            for count, share in _SIZES.items():
                _say(f"filling {count:,} tasks")
                urls.append(new_database(postgres, f"of_{count}"))
                fill(urls[-1], count, share)
            yield urls


def fill(url: str, count: int, share: int) -> None:
    """Fill the table in the order of creation; indexes are made afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '1GB'")
        indexes = connection.execute(_INDEXES).fetchall()
        connection.execute("ALTER TABLE tasks DROP CONSTRAINT tasks_pkey")
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}".encode())
        connection.execute(_FILL, {"user": USER, "count": count, "share": share})
        connection.execute("ALTER TABLE tasks ADD PRIMARY KEY (user_id, id)")
        for _, definition in indexes:
            connection.execute(definition.encode())
        connection.execute("VACUUM (ANALYZE) tasks")


@contextmanager
def using(url: str) -> Iterator[None]:
    """Have the tasks' functions use this database."""
    with patch.dict(os.environ, DATABASE_URL=url, ALLOW_OWNER_LOGIN="true"), ExitStack() as stack:
        database.cache_clear()
        stack.callback(database.cache_clear)
        stack.callback(lambda: database().close())
        yield


def after(wanted: PageRequest, number: int) -> PageRequest:
    """Return the request of the same list from behind the task that was filled in n-th."""
    id_ = UUID(f"{1795000000000 + number:012x}70008000{number:012x}")
    task = Task.model_construct(id=id_, user_id=USER)
    return wanted._replace(cursor=wanted.cursor_after(task))


def page(name: str, count: int, share: int) -> PageRequest:
    """Return the request of a page of `PAGES` in a table of so many tasks."""
    wanted, part = PAGES[name]
    number = min(int(count * part), count - LIMIT * share)
    return after(wanted, number) if part else wanted


def _times(urls: list[str]) -> dict[str, list[float]]:
    """Return each page's seconds in each database, the least of many.

    The databases take turns, so that other work hits all of them.
    """
    found = {name: [float("inf")] * len(urls) for name in PAGES}
    for _ in range(5):
        for place, (url, size) in enumerate(zip(urls, _SIZES.items(), strict=True)):
            with using(url):
                for name, times in found.items():
                    times[place] = min(times[place], _fastest(page(name, *size)))
    return found


def _fastest(wanted: PageRequest) -> float:
    """Return the least seconds of 46 requests, or of those that one second allows."""
    least, end = float("inf"), time.perf_counter() + 1
    for _ in range(46):
        started = time.perf_counter()
        store.list_page(USER, wanted)
        now = time.perf_counter()
        least = min(least, now - started)
        if now > end:
            break
    return least


# --- plans ---


def plan(wanted: PageRequest) -> dict[str, Any]:
    """Return what was done and how long it took, as the API's role, with row-level security."""
    statement = store.page_statement(USER, wanted)
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
    explained = Statement(explain + statement.sql, statement.params)
    (rows,) = database().run(explained, effect=Effect.READ, settings=acting_as(USER))
    found: dict[str, Any] = rows[0]["QUERY PLAN"][0]
    return found


def nodes(explained: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan, from the top."""
    pending = [explained["Plan"]]
    while pending:
        node = pending.pop(0)
        yield node
        pending += node.get("Plans", [])


def rows_read(explained: dict[str, Any]) -> int:
    """Return how many rows the server looked at to find the page."""
    # Of a node that several workers share, rows are given as the average of each one's.
    return sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes(explained)
        if "Relation Name" in node
    )


def found_by(explained: dict[str, Any]) -> list[str]:
    """Return the indexes that the page was found by, and `Seq Scan` where it was none."""
    scans = [node for node in nodes(explained) if "Scan" in node["Node Type"]]
    return [node["Index Name"] if "Index Name" in node else node["Node Type"] for node in scans]


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
