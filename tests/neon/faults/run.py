"""One run: servers, clients, faults, and then a comparison of every write with the table."""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from bench.proxy import Harm, How, Proxy
from bench.servers import QUOTED, USER, PgBouncer, Postgres, until
from tests.neon.faults.clients import TABLES, Client, Kind, Told, Write, small_send_buffers
from tests.neon.faults.server_faults import ServerFaults

_CLIENTS_EACH = 5
_BUFFER_BYTES = 16_384  # small, so that a client cannot hand over a long request and go on
_WEIGHTS = {How.FIN: 5, How.RESET: 5, How.LATE: 3, How.SILENCE: 2}
_PROGRESS_SECONDS = 10.0
_COLUMNS = (
    "writes",
    "lost",
    "doubled",
    '"nothing was done" though done',
    '"done" though not',
    "unknown",
)


@dataclass
class Account:
    """What became of the writes of one kind. All but the first and the last number have to be 0."""

    writes: int = 0
    lost: int = 0
    doubled: int = 0
    denied: int = 0
    invented: int = 0
    unknown: int = 0

    def add(self, write: Write, times: int) -> None:
        """Count a write that the table has so many times."""
        self.writes += 1
        self.doubled += times > 1
        self.denied += write.told is Told.NOTHING and times > 0
        is_missing = write.told is Told.DONE and times == 0
        self.lost += is_missing and write.was_read
        self.invented += is_missing and not write.was_read
        self.unknown += write.told is Told.UNKNOWN

    @property
    def numbers(self) -> list[int]:
        """Return the figures in the order of the columns."""
        return [getattr(self, each.name) for each in fields(self)]


@dataclass
class Result:
    """The accounts of a run by route and kind, and its faults by kind."""

    accounts: dict[tuple[str, Kind], Account]
    faults: Counter[str]
    missing: int
    seconds: float
    seed: int

    @property
    def is_good(self) -> bool:
        """Return whether every promise was kept."""
        return not self.missing and not any(sum(each.numbers[1:-1]) for each in self.all)

    @property
    def all(self) -> list[Account]:
        """Return the accounts."""
        return list(self.accounts.values())

    def table(self) -> str:
        """Return the accounts and the faults as two Markdown tables."""
        lines = [f"| route, write | {' | '.join(_COLUMNS)} |", "|---|" + "---:|" * len(_COLUMNS)]
        for (route, kind), account in self.accounts.items():
            lines.append(f"| {route}, {kind.value} | {' | '.join(map(str, account.numbers))} |")
        totals = [sum(column) for column in zip(*(each.numbers for each in self.all), strict=True)]
        lines.append(f"| all | {' | '.join(map(str, totals))} |")
        lines += ["", "| fault | times |", "|---|---:|"]
        lines += [f"| {name} | {number} |" for name, number in sorted(self.faults.items())]
        lines.append(f"| all, in {self.seconds:.0f} s, seed {self.seed} | {self.faults.total()} |")
        return "\n".join(lines)


def run(seconds: float, seed: int, say: Callable[[str], None]) -> Result:
    """Let clients write under faults for so many seconds, and compare the writes with the table."""
    chance, faults = random.Random(seed), Counter[str]()  # noqa: S311
    with ExitStack() as stack:
        stack.enter_context(small_send_buffers())
        postgres, poolers = stack.enter_context(_servers())
        ports = {"direct": postgres.port} | {name: each.port for name, each in poolers.items()}
        proxies = {
            name: stack.enter_context(
                Proxy(port, buffer_bytes=_BUFFER_BYTES, harm=partial(_harm, chance))
            )
            for name, port in ports.items()
        }
        calm, over = threading.Event(), threading.Event()
        clients = {
            name: [Client(_url(proxy), chance.randrange(10**9), over) for _ in range(_CLIENTS_EACH)]
            for name, proxy in proxies.items()
        }
        maker = ServerFaults(postgres, [*poolers.values()], chance.randrange(10**9), faults, calm)
        threads = [client for group in clients.values() for client in group]
        started = time.monotonic()
        for thread in (maker, *threads):
            thread.start()
        _watch(started + seconds, faults, threads, say)
        calm.set()
        maker.join()
        for proxy in proxies.values():
            proxy.calm()
        over.set()
        for thread in threads:
            thread.join()
        for proxy in proxies.values():
            faults.update({how.value: number for how, number in proxy.harms.items()})
        spent = time.monotonic() - started
        for failure in (maker.failure, *(each.failure for each in threads)):
            if failure is not None:
                raise failure
        accounts = _accounts(postgres, clients)
        return Result(accounts, faults, sum(each.missing for each in threads), spent, seed)


def _harm(chance: random.Random) -> Harm:
    """Choose a harm and its byte: an early byte is part of the login, a later one of any work."""
    how = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    is_early, is_upstream = chance.random() < 0.1, chance.random() < 0.5
    typical = 200 if is_early else 6000 if is_upstream else 2500
    after = (0 if is_early else 700) + int(chance.expovariate(1 / typical))
    seconds = chance.uniform(0.1, 2.5) if how is How.LATE else chance.uniform(1.0, 5.0)
    return Harm(how, is_upstream, after, seconds)


def _url(proxy: Proxy) -> str:
    return f"postgresql://{USER}:{QUOTED}@127.0.0.1:{proxy.port}/postgres"


def _watch(
    end: float, faults: Counter[str], clients: list[Client], say: Callable[[str], None]
) -> None:
    while (left := end - time.monotonic()) > 0:
        threading.Event().wait(min(left, _PROGRESS_SECONDS))
        writes = sum(len(each.writes) for each in clients)
        say(f"{max(left, 0):4.0f} s left: {writes} writes, {faults.total()} faults of servers")


def _accounts(
    postgres: Postgres, clients: dict[str, list[Client]]
) -> dict[tuple[str, Kind], Account]:
    """Count the rows of every write, once nothing is left that could still insert one."""
    until(lambda: postgres.sessions("active", "idle in transaction") == 0, seconds=60)
    postgres.terminate()
    rows = postgres.admin("SELECT id, count(*) FROM fault_writes GROUP BY id")
    times = {str(id_): int(str(count)) for id_, count in rows}
    accounts = {(route, kind): Account() for route in clients for kind in Kind}
    for route, group in clients.items():
        for client in group:
            for write in client.writes:
                accounts[route, write.kind].add(write, times.get(write.id, 0))
    return accounts


@contextmanager
def _servers() -> Iterator[tuple[Postgres, dict[str, PgBouncer]]]:
    """Start a Postgres, and two poolers: with and without prepared statements."""
    with tempfile.TemporaryDirectory(prefix="faults") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = stack.enter_context(Postgres(folder / "postgres"))
        postgres.admin(*TABLES)
        poolers = {
            route: stack.enter_context(
                PgBouncer(
                    folder / f"pooler{prepared}",
                    postgres,
                    default_pool_size=2,
                    max_prepared_statements=prepared,
                    query_wait_timeout=1,
                    server_login_retry=0,
                )
            )
            for route, prepared in (("pooled", 200), ("pooled, unprepared", 0))
        }
        yield postgres, poolers


def main(seconds: float) -> int:
    """Run, print the table, and return 1 if a promise was broken."""
    seed = random.SystemRandom().randrange(1_000_000)
    result = run(seconds, seed, lambda text: print(text, file=sys.stderr, flush=True))
    print(result.table())
    return 0 if result.is_good else 1
