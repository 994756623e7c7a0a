"""Measures the helper and prints the table for docs/neon.md: `python -m tests.neon.measure`.

With `--overhead URL` it measures only the overhead, on that database.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.proxy import Fault, Proxy
from bench.servers import (
    QUOTED,
    USER,
    Authority,
    Certificate,
    PgBouncer,
    Postgres,
    pgbouncer_version,
)
from neon import Database, DatabaseError, Effect, Statement
from tests.neon.direct_tls import direct_tls

LATENCY = 0.025  # each way, so 50 ms for a round trip
ROUNDS, REPEATS = 60, 50
ROW = Statement(
    """
    SELECT 'alice' AS user_id, gen_random_uuid() AS id, 'a title' AS title,
           'a description' AS description, false AS completed,
           now() AS created_at, now() AS updated_at
    WHERE %s::text <> ''
    """,
    ("alice",),
)
PID = Statement("SELECT pg_backend_pid() AS pid")
ONE = Statement("SELECT 1 AS one")


@dataclass(frozen=True)
class Overhead:
    """Microseconds by the clock and of this process's CPU, and their ratios to a bare execute.

    A ratio is the median over pairs of rounds that followed each other, not the quotient of the
    medians, because the machine's pace changes in between.
    """

    bare: tuple[float, float]
    unit: tuple[float, float]
    time: float
    cpu: float


def overhead(url: str, statement: Statement) -> Overhead:
    """Measure a bare `conn.execute` and a unit of work in turns, in short rounds."""
    database = Database(url)
    with psycopg.connect(url, autocommit=True) as connection:

        def bare() -> None:
            connection.execute(statement.sql, statement.params or None).fetchall()

        def unit() -> None:
            database.run(statement, effect=Effect.READ, settings={"app.user_id": "alice"})

        rows = database.run(PID, effect=Effect.READ)
        with _placed(connection.info.backend_pid, rows[0][0]["pid"]):
            pairs = [(_round(bare), _round(unit)) for _ in range(ROUNDS)][5:]
    database.close()
    return Overhead(
        _medians([bare for bare, _ in pairs]),
        _medians([unit for _, unit in pairs]),
        *_medians([(unit[0] / bare[0], unit[1] / bare[1]) for bare, unit in pairs]),
    )


@contextmanager
def _placed(*backends: int) -> Iterator[None]:
    """Keep this process on one CPU and both backends on another, where that is allowed.

    Otherwise the scheduler decides for each connection whether a query has to change CPUs, and that
    makes a larger difference than the measured one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    with suppress(PermissionError):
        for backend in backends:
            os.sched_setaffinity(backend, allowed[1:2] or allowed)
    os.sched_setaffinity(0, allowed[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _round(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(REPEATS):
        run()
    scale = 1e6 / REPEATS
    return (time.perf_counter() - wall) * scale, (time.process_time() - cpu) * scale


def _medians(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    walls, cpus = zip(*rounds, strict=True)
    return statistics.median(walls), statistics.median(cpus)


def main() -> None:
    """Print every line of the table."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        with Postgres(directory / "pg") as postgres:
            print("| what | measured |\n|---|---|")
            _print_round_trips(directory, postgres)
            _print_overhead(postgres)
            _print_liveness(postgres)
            print("\n| fault | read | repeatable write | other write |")
            print("|---|---|---|---|")
            _print_faults(postgres)


def _print_round_trips(directory: Path, postgres: Postgres) -> None:
    authority = Authority(directory / "certificates")
    certificate = authority.issue("localhost")
    certificate.key.chmod(0o644)
    with (
        PgBouncer(directory / "pooler", postgres, certificate=certificate) as pooler,
        Proxy(pooler.port, latency=LATENCY) as proxy,
    ):
        version = ".".join(map(str, pgbouncer_version()))
        row("pooler", f"PgBouncer {version}, transaction mode, TLS 1.3, 50 ms a round trip")
        database = Database(
            f"postgresql://{USER}:{QUOTED}@localhost:{proxy.port}/postgres"
            f"?sslmode=verify-full&sslrootcert={authority.roots}"
        )
        database.run(ONE, effect=Effect.READ)
        row("connect, TLS after Postgres's own request", f"{proxy.round_trips - 1} round trips")
        _print_direct(directory, postgres, authority, certificate)
        _print_trips("unit of work: user, time-out, one SELECT", proxy, lambda: _unit(database))
        _print_trips("unit of work: three statements", proxy, lambda: _three(database))
        assert database._connection is not None
        _print_trips("liveness check", proxy, database._connection.unusable)
        database.close()


def _print_direct(
    directory: Path, postgres: Postgres, authority: Authority, certificate: Certificate
) -> None:
    with (
        PgBouncer(directory / "plain", postgres) as pooler,
        direct_tls(pooler.port, certificate.chain, certificate.key) as port,
        Proxy(port, latency=LATENCY) as proxy,
    ):
        database = Database(
            f"postgresql://{USER}:{QUOTED}@localhost:{proxy.port}/postgres"
            f"?sslmode=verify-full&sslrootcert={authority.roots}&sslnegotiation=direct"
        )
        database.run(effect=Effect.READ)
        row("connect, direct TLS, as to Neon", f"{proxy.round_trips - 1} round trips")
        database.close()


def _print_trips(what: str, proxy: Proxy, run: Callable[[], object]) -> None:
    run()
    before, started = proxy.round_trips, time.perf_counter()
    run()
    milliseconds = (time.perf_counter() - started) * 1000
    row(what, f"{proxy.round_trips - before} round trips, {milliseconds:.0f} ms")


def _print_overhead(postgres: Postgres) -> None:
    for what, statement in (("a row of seven columns", ROW), ("SELECT 1", ONE)):
        found = overhead(postgres.url, statement)
        row(
            f"overhead, {what}, loopback without TLS",
            f"{found.unit[0]:.0f} µs and {found.unit[1]:.0f} µs CPU; bare execute"
            f" {found.bare[0]:.0f} and {found.bare[1]:.0f}:"
            f" x {found.time:.2f}, x {found.cpu:.2f} CPU",
        )


def _print_liveness(postgres: Postgres) -> None:
    database = Database(postgres.url)
    database.run(ONE, effect=Effect.READ)
    connection = database._connection
    assert connection is not None
    times = [_round(connection.unusable)[0] for _ in range(50)]
    row("liveness check of a good connection", f"{statistics.median(times):.1f} µs")
    postgres.terminate()
    started = time.perf_counter()
    assert connection.unusable() == "stale"
    row("finding a killed backend", f"{(time.perf_counter() - started) * 1e6:.0f} µs")
    database.close()


def _print_faults(postgres: Postgres) -> None:
    postgres.admin("CREATE TABLE hits (op text)", f"GRANT ALL ON hits TO {USER}")
    postgres.admin("CREATE UNIQUE INDEX ON hits (op) WHERE op LIKE 'repeatable%'")
    for fault in Fault:
        kinds = ("read", "repeatable", "once")
        outcomes = [_outcome(postgres, fault, kind) for kind in kinds]
        print(f"| {fault.value} | {' | '.join(outcomes)} |", flush=True)


def _outcome(postgres: Postgres, fault: Fault, kind: str) -> str:
    """Return the outcome that the caller was told, and the number of rows afterwards."""
    op = f"{kind} {fault.name}"
    with Proxy(postgres.port) as proxy:
        url = f"postgresql://{USER}:{QUOTED}@127.0.0.1:{proxy.port}/postgres"
        database = Database(url, timeout=1)
        database.run(ONE, effect=Effect.READ)
        try:
            _meet(database, proxy, fault, kind, Statement("INSERT INTO hits VALUES (%s)", (op,)))
        except DatabaseError as error:
            told = type(error).__name__
        else:
            told = "succeeds"
        database.close()
    postgres.terminate()
    times = len(postgres.admin(f"SELECT 1 FROM hits WHERE op = '{op}'"))
    return told if kind == "read" else f"{told}, happened {times} x"


def _meet(database: Database, proxy: Proxy, fault: Fault, kind: str, insert: Statement) -> None:
    again = Statement("INSERT INTO hits VALUES (%s) ON CONFLICT DO NOTHING", insert.params)
    proxy.arm(fault)
    database.run({"read": ONE, "repeatable": again}.get(kind, insert), effect=Effect(kind))


def row(what: str, measured: str) -> None:
    """Print one line of the table."""
    print(f"| {what} | {measured} |", flush=True)


def _unit(database: Database) -> object:
    return database.run(ONE, effect=Effect.READ, settings={"app.user_id": "alice"})


def _three(database: Database) -> object:
    return database.run(ONE, ONE, ONE, effect=Effect.READ, settings={"app.user_id": "alice"})


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else print(overhead(sys.argv[2], ROW))
