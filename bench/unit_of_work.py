"""What a request costs in the function and in Postgres: `python -m bench.unit_of_work [REQUESTS]`.

Ours runs as real Lambda processes, with a Postgres on the same machine. Postgres' processor time is
that of the backend that serves the function's connection.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench import contenders, databases
from bench.contenders import OURS
from bench.databases import PRODUCT, Databases
from bench.environment import Environment
from bench.measuring import Subject
from bench.scenarios import NORMAL, Bench

_REQUESTS = ("list_tasks", "get_task", "update_task", "create_task")


def main() -> None:
    """Measure four kinds of requests and print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    (ours,) = contenders.build([OURS])
    print("| request | p50, ms | the function's CPU, ms | Postgres' CPU, ms |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, databases.started(Path(folder)) as started:
        bench = Bench([ours], started, {}, NORMAL, lambda: None)
        for operation in _REQUESTS:
            figures = _measure(bench.subject(ours, operation, started.local), started, count)
            print(f"| {operation} | {' | '.join(f'{each * 1000:.2f}' for each in figures)} |")


def _measure(subject: Subject, started: Databases, count: int) -> tuple[float, float, float]:
    with Environment(subject.command) as environment:
        environment.ready()
        for _ in range(100):
            subject.check(environment.invoke(subject.ask())[1])
        backend = _backend(started)
        own, theirs = environment.cpu(), time.clock_gettime(backend)
        seconds = [environment.invoke(subject.ask())[0] for _ in range(count)]
        own, theirs = environment.cpu() - own, time.clock_gettime(backend) - theirs
    return statistics.median(seconds), own / count, theirs / count


def _backend(started: Databases) -> int:
    """Return the number of the processor clock of the function's backend."""
    with started.owner(PRODUCT) as connection:
        (row,) = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchall()
    return (~int(str(row[0])) << 3) | 2


if __name__ == "__main__":
    main()
