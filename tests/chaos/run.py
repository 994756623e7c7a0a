"""One run of chaos: the servers, the API, a hundred customers, the faults, and the comparison.

`python -m tests.chaos.run [SECONDS]` prints the account, and exits with 1 if it is not good.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.servers import USER, PgBouncer, Postgres
from tests.chaos.customer import Customer, Ledger
from tests.load import SECRET, counts, environments, percentile, session_of, token_of
from tests.running import Running, running
from tests.server_faults import ServerFaults

CUSTOMERS = 100
ENVIRONMENTS_EACH = 5  # of eight functions
POOL = 5
KINDS = {
    "backend killed": 1,
    "all backends killed": 1,
    "pooler killed and started": 1,
    "Postgres stopped and started": 1,
    "Postgres crashed and started": 1,
}


@dataclass
class Result:
    """What a run found. `lost`, `doubled`, `refused` and `surprises` have to be zero or empty."""

    ledger: Ledger = field(default_factory=Ledger)
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    environments: int = 0
    tasks: int = 0
    lost: int = 0
    doubled: int = 0
    refused: int = 0

    @property
    def is_good(self) -> bool:
        """Return whether everything was as the contract says."""
        return not (self.lost or self.doubled or self.refused or self.ledger.surprises)

    def table(self) -> str:
        """Return the figures as a Markdown table, with the first surprises."""
        ledger = self.ledger
        requests = ledger.statuses.total()
        rows = {
            "clients, environments, pool": f"{CUSTOMERS}, {self.environments}, {POOL}",
            "requests": f"{requests} in {self.seconds:.0f} s",
            "responses": counts(ledger.statuses),
            "faults": f"{self.faults.total()} ({counts(self.faults)})",
            "hung up, retries, replays": f"{ledger.hung_up}, {ledger.retries}, {ledger.replays}",
            "writes acknowledged": f"{ledger.acknowledged.total()}",
            "of them batches, with operations": (
                f"{ledger.acknowledged['batch']}, {ledger.operations}"
            ),
            "tasks at the end": f"{self.tasks}",
            "lost": f"{self.lost}",
            "doubled": f"{self.doubled}",
            "refused and yet there": f"{self.refused}",
            "surprises": f"{len(ledger.surprises)}",
            "answered in, p50 / p99": _times(ledger.milliseconds),
            "done in, with retries, p50 / p99": _times(ledger.done_in),
        }
        lines = [f"| {name} | {value} |" for name, value in rows.items()]
        return "\n".join(["| | |", "|---|---|", *lines, *ledger.surprises[:20]])


def run(seconds: float, seed: int) -> Result:
    """Make chaos for so many seconds."""
    with _servers() as (postgres, pooler):
        settings = {"DATABASE_URL": pooler.url(), "JWT_SECRET": SECRET}
        chance = random.Random(seed)  # noqa: S311
        faults = ServerFaults(postgres, [pooler], KINDS, chance=chance, seconds=1.5)
        result = Result(faults=faults.count)
        with running(settings | {"CONCURRENCY": str(ENVIRONMENTS_EACH)}) as api:
            customers = asyncio.run(_act(api, faults, result, chance, seconds))
        _reckon(postgres, customers, result)
    return result


async def _act(
    api: Running, faults: ServerFaults, result: Result, chance: random.Random, seconds: float
) -> list[Customer]:
    """Run customers and faults together, then let the customers finish their last requests."""
    over, ledger = asyncio.Event(), result.ledger
    async with session_of(api) as session:
        customers = [
            Customer(session, user, token_of(user), ledger, random.Random(chance.random()))  # noqa: S311
            for user in (f"customer-{number}" for number in range(CUSTOMERS))
        ]
        started = time.monotonic()
        living = asyncio.gather(*(customer.live(over) for customer in customers))
        faults.start()
        await asyncio.wait([living], timeout=seconds)
        await asyncio.to_thread(faults.complete.wait, 120)
        result.environments = environments(api)
        await asyncio.to_thread(faults.end)
        over.set()
        await living
        result.seconds = time.monotonic() - started
    return customers


def _reckon(postgres: Postgres, customers: list[Customer], result: Result) -> None:
    """Compare the table, read directly from Postgres, with the acknowledged writes."""
    rows = postgres.admin("SELECT user_id, id::text, title, completed FROM tasks")
    found: dict[Any, Any] = {(row[0], row[1]): (row[2], row[3]) for row in rows}
    known = {
        (customer.user, id_): (task.title, task.completed)
        for customer in customers
        for id_, task in customer.tasks.items()
    }
    titles = Counter(title for title, _ in found.values())
    result.tasks = len(found)
    result.lost = sum(found.get(key) != task for key, task in known.items())
    result.refused = titles.pop("refused", 0)
    result.doubled = len(found.keys() - known.keys()) + sum(n - 1 for n in titles.values())
    (recorded,) = postgres.admin("SELECT count(*) FROM idempotency_keys")[0]
    acknowledged = result.ledger.acknowledged.total()
    if recorded != acknowledged:
        result.ledger.surprises.append(f"{recorded} records for {acknowledged} acknowledged writes")


@contextmanager
def _servers() -> Iterator[tuple[Postgres, PgBouncer]]:
    """Run Postgres and a pooler of five connections."""
    with tempfile.TemporaryDirectory(prefix="chaos") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the servers run as another account
        with Postgres(folder / "postgres") as postgres:
            postgres.admin(f"ALTER ROLE {USER} CREATEROLE")  # the migrations make a role
            settings: dict[str, Any] = {"default_pool_size": POOL, "max_client_conn": 300}
            with PgBouncer(folder / "pooler", postgres, **settings) as pooler:
                yield postgres, pooler


def _times(milliseconds: list[float]) -> str:
    return " / ".join(f"{percentile(milliseconds, percent):.0f} ms" for percent in (50, 99))


if __name__ == "__main__":
    result = run(float(sys.argv[1]), random.SystemRandom().randrange(1_000_000))
    print(result.table())
    sys.exit(not result.is_good)
