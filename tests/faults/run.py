"""One run: servers, clients, faults, and then a comparison of every write with the table.

`python -m tests.faults.run [SECONDS]` prints the table, and exits with 1 if a promise was broken.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

from bench.proxy import Harm, How, Proxy
from bench.servers import PASSWORD, QUOTED, USER, PgBouncer, Postgres, until
from tests.faults.clients import TABLES, Client, Kind, Told, Write
from tests.neon.conftest import small_send_buffers
from tests.server_faults import ServerFaults

_CLIENTS_EACH = 5
_BUFFER_BYTES = 16_384  # small, so that a client cannot hand over a long request and go on
_HARMS = {How.FIN: 5, How.RESET: 5, How.LATE: 3, How.SILENCE: 2}
KINDS = {
    "backend killed": 12,
    "statement cancelled": 12,
    "pooler killed and started": 4,
    "pool starved": 2,
    "Postgres crashed and started": 2,
    "Postgres a standby": 2,
    "Postgres short of memory": 4,
}
# A role whose own settings would change how values are written, and end transactions early.
_HOSTILE = "hostile"
_SETTINGS = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "transaction_timeout": "20s",
}
_COLUMNS = (
    *("writes", "lost", "doubled", "half done"),
    *('"nothing was done" though done', '"done" though not'),
    "unknown",
)


@dataclass
class Account:
    """What became of the writes of one kind. All but the first and the last number have to be 0."""

    writes: int = 0
    lost: int = 0
    doubled: int = 0
    halved: int = 0
    denied: int = 0
    invented: int = 0
    unknown: int = 0

    def add(self, write: Write, rows: int) -> None:
        """Count a write of which the table has so many rows."""
        times, rest = divmod(rows, write.rows)
        self.writes += 1
        self.halved += rest > 0
        self.doubled += times > 1
        self.denied += write.told is Told.NOTHING and times > 0
        is_missing = write.told is Told.DONE and times == 0
        self.lost += is_missing and write.was_read
        self.invented += is_missing and not write.was_read
        self.unknown += write.told is Told.UNKNOWN


@dataclass
class Result:
    """The accounts of a run by route and kind, and its faults by kind."""

    accounts: dict[tuple[str, Kind], Account]
    faults: Counter[str]
    missing: int
    seconds: float

    @property
    def is_good(self) -> bool:
        """Return whether every promise was kept."""
        return not self.missing and not any(self._totals()[1:-1])

    def _totals(self) -> list[int]:
        return [sum(each) for each in zip(*map(astuple, self.accounts.values()), strict=True)]

    def table(self) -> str:
        """Return the accounts and the faults as two Markdown tables."""
        lines = [f"| route, write | {' | '.join(_COLUMNS)} |", "|---|" + "---:|" * len(_COLUMNS)]
        for (route, kind), account in self.accounts.items():
            numbers = " | ".join(map(str, astuple(account)))
            lines.append(f"| {route}, {kind.value} | {numbers} |")
        lines.append(f"| all | {' | '.join(map(str, self._totals()))} |")
        lines += ["", "| fault | times |", "|---|---:|"]
        lines += [f"| {name} | {number} |" for name, number in sorted(self.faults.items())]
        lines.append(f"| all, in {self.seconds:.0f} s | {self.faults.total()} |")
        return "\n".join(lines)


def run(seconds: float, seed: int) -> Result:
    """Let clients write under faults for so many seconds, and compare the writes with the table."""
    chance, over, started = random.Random(seed), threading.Event(), time.monotonic()  # noqa: S311
    with ExitStack() as stack:
        stack.enter_context(small_send_buffers())
        postgres, poolers = stack.enter_context(_servers())
        routes = {"direct": (USER, postgres.port), "hostile role": (_HOSTILE, postgres.port)}
        routes |= {name: (USER, each.port) for name, each in poolers.items()}
        clients, proxies = {}, []
        for name, (role, port) in routes.items():
            proxy = Proxy(port, buffer_bytes=_BUFFER_BYTES, harm=partial(_harm, chance))
            proxies.append(stack.enter_context(proxy))
            url = f"postgresql://{role}:{QUOTED}@127.0.0.1:{proxy.port}/postgres"
            seeds = [chance.randrange(10**9) for _ in range(_CLIENTS_EACH)]
            clients[name] = [Client(url, each, over) for each in seeds]
        faults = ServerFaults(postgres, [*poolers.values()], KINDS, chance=chance, seconds=0.4)
        threads = [client for group in clients.values() for client in group]
        for thread in (faults, *threads):
            thread.start()
        over.wait(seconds)
        faults.complete.wait(120)
        faults.end()
        for proxy in proxies:
            proxy.calm()
        over.set()
        for thread in threads:
            thread.join()
            if thread.failure:
                raise thread.failure
        for proxy in proxies:
            faults.count.update({how.value: number for how, number in proxy.harms.items()})
        missing = sum(each.missing for each in threads)
        accounts = _accounts(postgres, clients)
        return Result(accounts, faults.count, missing, time.monotonic() - started)


def _harm(chance: random.Random) -> Harm:
    """Choose a harm and its byte: an early byte is part of the login, a later one of any work."""
    (how,) = chance.choices(list(_HARMS), list(_HARMS.values()))
    is_early, is_upstream = chance.random() < 0.1, chance.random() < 0.5
    typical = 200 if is_early else 6000 if is_upstream else 2500
    after = (0 if is_early else 700) + int(chance.expovariate(1 / typical))
    seconds = chance.uniform(0.1, 2.5) if how is How.LATE else chance.uniform(1.0, 5.0)
    return Harm(how, is_upstream, after, seconds)


def _accounts(
    postgres: Postgres, clients: dict[str, list[Client]]
) -> dict[tuple[str, Kind], Account]:
    """Count the rows of every write, once nothing is left that could still insert one."""
    working = "SELECT pid FROM pg_stat_activity WHERE usename <> 'postgres' AND state <> 'idle'"
    until(lambda: not postgres.admin(working), seconds=60)
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
        folder.chmod(0o755)  # the servers run as another account
        postgres = stack.enter_context(Postgres(folder / "postgres"))
        role = f"CREATE ROLE {_HOSTILE} LOGIN PASSWORD '{PASSWORD}'"
        set_ = f"ALTER ROLE {_HOSTILE} SET"
        settings = [f"{set_} {name} = '{value}'" for name, value in _SETTINGS.items()]
        postgres.admin(*TABLES, role, *settings)
        poolers = {}
        for route, prepared in {"pooled": 200, "pooled, unprepared": 0}.items():
            pooler = PgBouncer(
                folder / f"pooler{prepared}",
                postgres,
                default_pool_size=2,
                max_prepared_statements=prepared,
                query_wait_timeout=1,
                server_login_retry=0,
            )
            poolers[route] = stack.enter_context(pooler)
        yield postgres, poolers


if __name__ == "__main__":
    result = run(float(sys.argv[1]), random.SystemRandom().randrange(1_000_000))
    print(result.table())
    sys.exit(not result.is_good)
