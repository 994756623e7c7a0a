"""One run of chaos: the servers, the API, a hundred customers, the faults, and the comparison."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import psutil

from bench.servers import USER, PgBouncer, Postgres
from tests.chaos.customer import Customer
from tests.chaos.faults import Faults
from tests.chaos.ledger import Ledger, percentile
from tests.running import ROOT, Running, running

CUSTOMERS = 100
ENVIRONMENTS_EACH = 5  # of seven functions
POOL = 5
ARTIFACTS = ROOT / "artifacts"
_SECRET = "a-secret-that-only-this-run-knows-0123456789"
_PROGRESS_SECONDS = 5.0


@dataclass
class Result:
    """What a run found. `lost`, `doubled`, `refused` and `surprises` have to be zero or empty."""

    ledger: Ledger
    seconds: float
    seed: int
    environments: int
    tasks: int
    lost: int
    doubled: int
    refused: int

    @property
    def is_good(self) -> bool:
        """Return whether everything was as the contract says."""
        return not (self.lost or self.doubled or self.refused or self.ledger.surprises)

    def rows(self) -> dict[str, str]:
        """Return the figures in the order of the table."""
        ledger = self.ledger
        answers = ", ".join(f"{status}: {n}" for status, n in sorted(ledger.statuses.items()))
        faults = ", ".join(f"{name}: {n}" for name, n in sorted(ledger.faults.items()))
        return {
            "seconds, seed": f"{self.seconds:.0f}, {self.seed}",
            "clients, environments, pool": f"{CUSTOMERS}, {self.environments}, {POOL}",
            "requests": f"{ledger.requests} ({ledger.requests / self.seconds:.0f} a second)",
            "answers": answers,
            "faults": f"{ledger.faults.total()} ({faults})",
            "retries, replays": f"{ledger.retries}, {ledger.replays}",
            "writes acknowledged": f"{ledger.acknowledged.total()}",
            "tasks at the end": f"{self.tasks}",
            "lost": f"{self.lost}",
            "doubled": f"{self.doubled}",
            "refused and yet there": f"{self.refused}",
            "surprises": f"{len(ledger.surprises)}",
            "answered in, p50 / p99": _times(ledger.answered_in),
            "done in, with retries, p50 / p99": _times(ledger.done_in),
        }

    def table(self) -> str:
        """Return the figures as a Markdown table, with the first surprises."""
        lines = [f"| {name} | {value} |" for name, value in self.rows().items()]
        return "\n".join(["| | |", "|---|---|", *lines, *self.ledger.surprises[:20]])


def run(seconds: float, seed: int, say: Callable[[str], None]) -> Result:
    """Make chaos for so many seconds; the result is also stored in artifacts/."""
    with _servers() as (postgres, pooler), ExitStack() as stack:
        settings = {"DATABASE_URL": pooler.url(), "JWT_SECRET": _SECRET}
        api = stack.enter_context(running(settings | {"CONCURRENCY": str(ENVIRONMENTS_EACH)}))
        ledger, chance = Ledger(), random.Random(seed)  # noqa: S311
        faults = Faults(postgres, pooler, ledger, chance)
        started = time.monotonic()
        customers, environments = asyncio.run(_act(api, faults, ledger, chance, seconds, say))
        spent = time.monotonic() - started
        result = _reckon(postgres, customers, ledger, Result(ledger, spent, seed, environments,
                                                             0, 0, 0, 0))  # fmt: skip
    _keep(result)
    return result


async def _act(
    api: Running,
    faults: Faults,
    ledger: Ledger,
    chance: random.Random,
    seconds: float,
    say: Callable[[str], None],
) -> tuple[list[Customer], int]:
    """Run customers and faults together, then let the customers finish what they began."""
    over, calm = asyncio.Event(), asyncio.Event()
    timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(api.url, timeout=timeout, connector=connector) as session:
        customers = [_customer(session, n, ledger, chance) for n in range(CUSTOMERS)]
        living = asyncio.gather(*(customer.live(over) for customer in customers))
        raging = asyncio.create_task(faults.rage(calm))
        telling = asyncio.create_task(_tell(ledger, say))
        both: list[asyncio.Future[Any]] = [living, raging]
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        environments = _environments(api)
        calm.set()
        await raging
        over.set()
        await living
        telling.cancel()
    return customers, environments


def _customer(
    session: aiohttp.ClientSession, number: int, ledger: Ledger, chance: random.Random
) -> Customer:
    user = f"customer-{number}"
    claims = {"sub": user, "exp": int(time.time()) + 7200}
    token = jwt.encode(claims, _SECRET, algorithm="HS256")
    return Customer(session, user, token, ledger, random.Random(chance.random()))  # noqa: S311


async def _tell(ledger: Ledger, say: Callable[[str], None]) -> None:
    """Report the progress every few seconds."""
    started = time.monotonic()
    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        say(
            f"{time.monotonic() - started:4.0f} s: {ledger.requests} requests,"
            f" {ledger.faults.total()} faults, {ledger.retries} retries,"
            f" {len(ledger.surprises)} surprises"
        )


def _environments(api: Running) -> int:
    """Return how many execution environments the API has started and not ended."""
    children = psutil.Process(api.process.pid).children(recursive=True)
    return sum("awslambdaric" in " ".join(child.cmdline()) for child in children)


def _reckon(
    postgres: Postgres, customers: list[Customer], ledger: Ledger, result: Result
) -> Result:
    """Compare the table, read directly from Postgres, with what was acknowledged."""
    rows = postgres.admin("SELECT user_id, id::text, title, completed FROM tasks")
    found = {(user, id_): (title, completed) for user, id_, title, completed in rows}
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
    recorded = postgres.admin("SELECT count(*) FROM idempotency_keys")[0][0]
    if recorded != ledger.acknowledged.total():
        ledger.surprises.append(
            f"{recorded} records for {ledger.acknowledged.total()} acknowledged writes"
        )
    return result


@contextmanager
def _servers() -> Iterator[tuple[Postgres, PgBouncer]]:
    """Run Postgres and a pooler of five connections, in a folder that both accounts can read."""
    folder = Path(tempfile.mkdtemp(prefix="chaos"))
    folder.chmod(0o755)
    try:
        with Postgres(folder / "postgres") as postgres:
            postgres.admin(f"ALTER ROLE {USER} CREATEROLE")  # the migrations make a role
            pooler = PgBouncer(
                folder / "pooler", postgres, default_pool_size=POOL, max_client_conn=300
            )
            with pooler:
                yield postgres, pooler
    finally:
        shutil.rmtree(folder)


def _times(seconds: list[float]) -> str:
    p50, p99 = (percentile(seconds, percent) * 1000 for percent in (50, 99))
    return f"{p50:.0f} ms / {p99:.0f} ms"


def _keep(result: Result) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / "chaos.md").write_text(result.table() + "\n")
    (ARTIFACTS / "chaos.json").write_text(json.dumps(result.rows(), indent=2) + "\n")


def main(seconds: float) -> int:
    """Run, print the table, and return 1 if something was not as the contract says."""
    seed = random.SystemRandom().randrange(1_000_000)
    result = run(seconds, seed, lambda text: print(text, file=sys.stderr, flush=True))
    print(result.table())
    return 0 if result.is_good else 1
