"""What one request costs where: `python -m tests.bench.unit_of_work [REQUESTS]`.

The real handlers in this process on an embedded Postgres on the same machine. Postgres' processor
time is that of its one backend; the handler's time is all that is not waiting for it.
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import psutil
import psycopg

from local.postgres import Postgres

TASKS = "/api/{user_id}/tasks"


def main() -> None:
    """Measure creating, listing ten, getting and updating; print the table."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    os.environ |= {"POWERTOOLS_SERVICE_NAME": "bench", "POWERTOOLS_METRICS_NAMESPACE": "Bench"}
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder) / "data") as postgres:
        os.environ["DATABASE_URL"] = postgres.url
        rows = _measure(requests)
    print("| request | handler + Postgres, ms | of it this process' CPU, ms | Postgres' CPU, ms |")
    print("|---|---|---|---|")
    for name, wall, own, backend in rows:
        print(f"| {name} | {wall:.2f} | {own:.2f} | {backend:.2f} |")


def _measure(requests: int) -> list[tuple[str, float, float, float]]:
    from tests.functions.handlers import Context, event, handler

    handler("migrate")({}, Context(remaining=60))
    created = handler("create_task")(_event(event, "POST", TASKS, {"title": "Tea"}), Context())
    for _ in range(9):
        handler("create_task")(_event(event, "POST", TASKS, {"title": "Tea"}), Context())
    one = {"task_id": created["headers"]["Location"].rpartition("/")[2]}
    path = TASKS + "/{task_id}"
    cases = {
        "list of ten": ("list_tasks", _event(event, "GET", TASKS)),
        "get": ("get_task", _event(event, "GET", path, **one)),
        "update": ("update_task", _event(event, "PUT", path, {"title": "Coffee"}, **one)),
        "create": ("create_task", _event(event, "POST", TASKS, {"title": "Tea"}, user="other")),
    }
    return [
        (name, *_timed(handler(function), each, requests, Context()))
        for name, (function, each) in cases.items()
    ]


def _event(make: Any, method: str, path: str, body: object = None, **more: str) -> Any:
    return make(method, path, user=more.pop("user", "alice"), body=body, **more)


def _timed(handler: Any, event: Any, requests: int, context: Any) -> tuple[float, float, float]:
    backend = psutil.Process(_backend())
    times: list[float] = []
    with redirect_stdout(io.StringIO()):
        for _ in range(100):
            handler(dict(event), context)
        before, own = _cpu(backend), time.process_time()
        for _ in range(requests):
            started = time.perf_counter()
            assert handler(dict(event), context)["statusCode"] < 300
            times.append((time.perf_counter() - started) * 1000)
        spent, mine = _cpu(backend) - before, time.process_time() - own
    return statistics.median(times), mine / requests * 1000, spent / requests * 1000


def _backend() -> int:
    """The process that serves the handlers' connection."""
    import tasks

    tasks.ping()
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        row = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
