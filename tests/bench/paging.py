"""What a page costs among ten million tasks; `make bench-paging` writes docs/paging.md with it.

Every figure is of a list as the API reads it: by the API's role, with row-level security, over one
connection, parsed into tasks. Fails when a page by `created` costs more than 1.5 times what it
costs in a table of a thousand.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from tasks import PageRequest, Sort, Status
from tests.bench.filling import after, fill, folder_for_servers, new_database, using
from tests.bench.measure import Cost, page, pages, writes
from tests.neon.servers import Postgres
from tests.running import ROOT

ALL = 10_000_000
MOST = 1.5
LIMIT = 100
_REPORT = ROOT / "docs" / "paging.md"
_INDEX = "tasks_by_status"

_CREATED = PageRequest(limit=LIMIT)
_NEWEST = PageRequest(sort=Sort.CREATED_DESCENDING, limit=LIMIT)
_PENDING = PageRequest(status=Status.PENDING, limit=LIMIT)
_COMPLETED = PageRequest(status=Status.COMPLETED, limit=LIMIT)
_OTHERS = {
    "`sort=title`": PageRequest(sort=Sort.TITLE, limit=LIMIT),
    "`sort=updated`": PageRequest(sort=Sort.UPDATED, limit=LIMIT),
    "`q` that most tasks have": PageRequest(q="described", limit=LIMIT),
    "`q` that no task has": PageRequest(q="nothing like it", limit=LIMIT),
}


def main() -> int:
    """Fill, measure, write the page; 1 when a page by `created` costs too much."""
    with _filled() as urls:
        small, medium, large = urls
        _say("measuring")
        created = {
            "first": _both(small, large, _CREATED),
            "middle": _both(small, large, _CREATED, 0.5),
            "last": _both(small, large, _CREATED, 1.0),
            "first, newest first": _both(small, large, _NEWEST),
        }
        status = {
            "`pending`, first": _both(small, large, _PENDING),
            "`completed`, first": _both(small, large, _COMPLETED),
            "`completed`, middle": _both(small, large, _COMPLETED, 0.5),
        }
        others = {
            name: [page(url, wanted) for url in (small, medium, large)]
            for name, wanted in _OTHERS.items()
        }
        with_index, size = writes(large), _size(large)
        _drop_index(large)
        without_index, unaided = writes(large), page(large, _PENDING)
        _REPORT.write_text(
            _report(small, created, status, others, with_index, without_index, unaided, size)
        )
    worst = max(big.milliseconds / little.milliseconds for little, big in created.values())
    _say(f"wrote {_REPORT.relative_to(ROOT)}; the worst ratio by `created` is {worst:.2f}")
    return 0 if worst <= MOST else 1


@contextmanager
def _filled() -> Iterator[list[str]]:
    """Databases with a thousand, ten thousand and ten million tasks; gone afterwards."""
    parent = Path(tempfile.mkdtemp(prefix="paging"))
    try:
        with Postgres(folder_for_servers(parent)) as postgres:
            postgres.admin("ALTER SYSTEM SET max_wal_size = '16GB'", "SELECT pg_reload_conf()")
            urls = []
            for name, count, share in (
                ("small", 1_000, 1),
                ("medium", 10_000, 1),
                ("large", ALL, 10),
            ):
                started = time.monotonic()
                urls.append(new_database(postgres, name))
                fill(urls[-1], count, share=share)
                _say(f"filled {count:,} tasks in {time.monotonic() - started:.0f} s")
            yield urls
    finally:
        shutil.rmtree(parent)


def _both(small: str, large: str, wanted: PageRequest, part: float = 0.0) -> tuple[Cost, Cost]:
    """The cost of the page that starts so far down in either list; 1 for the last full page."""
    little, big = pages(
        (small, _from(small, wanted, part, 1_000)),
        (large, _from(large, wanted, part, ALL // 10)),
    )
    return little, big


def _from(url: str, wanted: PageRequest, part: float, count: int) -> PageRequest:
    if not part:
        return wanted
    with using(url):
        return after(url, wanted, min(part, 1 - LIMIT / count))


def _report(
    small: str,
    created: dict[str, tuple[Cost, Cost]],
    status: dict[str, tuple[Cost, Cost]],
    others: dict[str, list[Cost]],
    with_index: dict[str, float],
    without_index: dict[str, float],
    unaided: Cost,
    size: str,
) -> str:
    pending = status["`pending`, first"][1]
    return f"""# What a page of the list costs

Made by `make bench-paging` on {datetime.now(UTC):%Y-%m-%d}: Postgres {_version(small)} on a
machine with {os.cpu_count()} processors, without `fsync`; pages of {LIMIT} tasks, as the API
reads them (its own role, row-level security, one connection on the same machine, parsed into
tasks), the fastest of many. The large table has {ALL:,} tasks, every tenth of them one
user's, {ALL // 10:,}, of which the older nine tenths are completed. The small one has a
thousand, all that user's.

## By `created`, the default: always the same

{_compared(created)}

The primary key `(user_id, id)` is the order of creation: a page is one range of it, wherever it
starts, and the server reads one row more than it shows.

## With `status`

{_compared(status)}

That is what the index `{_INDEX}` on `(user_id, completed, id)` is for. Without it the first
pending page of this user takes {unaided.milliseconds:.0f} ms and not
{pending.milliseconds:.2f} ms: {unaided.rows:,} rows are read to show {LIMIT}.
The index takes {size} in the large table. What it adds
to writes, in microseconds a row of a statement that writes ten thousand, all pages full:

| | with | without |
|---|---|---|
{_written(with_index, without_index)}

An update that leaves `completed` alone, and whose page has room, touches no index at all.

## What grows with a user's tasks: `q`, `sort=title`, `sort=updated`

| milliseconds, first page | 1,000 tasks | 10,000 tasks | 1,000,000 of 10,000,000 |
|---|---|---|---|
{_growing(others)}

To sort, the server reads all tasks of the user, or the whole table where the user has a large part
of it. `q` reads until the page is full, unless the planner expects few matches; then it does the
same. No index is kept for them, because none pays for what tasks are for: with ten thousand tasks
such a page costs a few milliseconds.

- `sort=updated` would need `(user_id, updated_at, id)`, and since every update moves `updated_at`,
  no update could be heap-only any more.
- `sort=title` would need `lower(title)` in an index, and for a further page that index is of no use
  below row-level security: `lower` is not leakproof, so the comparison runs after the policy, on
  every row before the page. It would take a stored column.
- `q` looks for text anywhere in two columns. A trigram index (`pg_trgm`) knows no users, and
  `ILIKE` is not leakproof either.

## A page that takes too long

`q` has at most 100 characters, and a page may keep the database busy for `LIST_TIMEOUT_SECONDS`,
3 unless set. Then the database stops working on it and the client gets 503 with a `type` that ends
in `/too-slow`.

## Plans

By `created`, the middle page of a million:

```
{created["middle"][1].plan}
```

`status=pending`, the first page of a million:

```
{pending.plan}
```

`sort=title`, the first page of a million:

```
{others["`sort=title`"][2].plan}
```
"""


def _compared(costs: dict[str, tuple[Cost, Cost]]) -> str:
    lines = [
        "| page | of a thousand | of a million in ten | ratio | rows read | buffers of 8 kB |",
        "|---|---|---|---|---|---|",
    ]
    for name, (little, big) in costs.items():
        ratio = big.milliseconds / little.milliseconds
        times = f"{little.milliseconds:.2f} ms | {big.milliseconds:.2f} ms | {ratio:.2f}"
        lines.append(f"| {name} | {times} | {big.rows} | {little.buffers}, {big.buffers} |")
    return "\n".join(lines)


def _growing(others: dict[str, list[Cost]]) -> str:
    return "\n".join(
        f"| {name} | {' | '.join(f'{cost.milliseconds:.1f}' for cost in costs)} |"
        for name, costs in others.items()
    )


def _written(with_index: dict[str, float], without_index: dict[str, float]) -> str:
    return "\n".join(
        f"| {name} | {cost:.1f} | {without_index[name]:.1f} |" for name, cost in with_index.items()
    )


def _size(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT pg_size_pretty(pg_relation_size(%s::regclass)) || ' (the primary key: '"
            " || pg_size_pretty(pg_relation_size('tasks_pkey')) || ')'",
            (_INDEX,),
        ).fetchone()
    assert row is not None
    return str(row[0])


def _drop_index(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP INDEX {_INDEX}".encode())


def _version(url: str) -> str:
    with psycopg.connect(url) as connection:
        return str(connection.info.server_version // 10_000)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
