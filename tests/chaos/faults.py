"""The faults of a run: killed backends, a restarted pooler, a Postgres that sleeps or crashes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from bench.servers import USER, PgBouncer, Postgres
from tests.chaos.ledger import Ledger

_KILL_ALL = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'"
_KILL_ONE = _KILL_ALL + " ORDER BY random() LIMIT 1"
_KILL_BUSY = _KILL_ALL + " AND state <> 'idle'"
_PAUSE_SECONDS = (0.5, 2.5)
_DOWN_SECONDS = (0.2, 3.0)


class Faults:
    """The source of the faults: makes one after another, and leaves every server up at the end."""

    def __init__(
        self, postgres: Postgres, pooler: PgBouncer, ledger: Ledger, chance: random.Random
    ) -> None:
        self._postgres = postgres
        self._pooler = pooler
        self._ledger = ledger
        self._chance = chance

    async def rage(self, over: asyncio.Event) -> None:
        """Make faults until it is over: in each round every kind once, in random order."""
        kinds = [
            ("one backend killed", self._kill(_KILL_ONE)),
            ("busy backends killed", self._kill(_KILL_BUSY)),
            ("all backends killed", self._kill(_KILL_ALL)),
            ("pooler killed and started", self._pooler_restarted),
            ("Postgres stopped and started", lambda: self._postgres_down("fast")),
            ("Postgres crashed and started", lambda: self._postgres_down("immediate")),
        ]
        while True:
            for name, fault in self._chance.sample(kinds, len(kinds)):
                if await _happens(over, self._chance.uniform(*_PAUSE_SECONDS)):
                    return
                await asyncio.to_thread(fault)
                self._ledger.faults[name] += 1

    def _kill(self, sql: str) -> Callable[[], None]:
        return lambda: _discard(self._postgres.admin(sql))

    def _pooler_restarted(self) -> None:
        self._pooler.kill()
        self._pooler.start()

    def _postgres_down(self, mode: str) -> None:
        """Stop Postgres for a while, as Neon suspends a compute, and start it again."""
        self._postgres.stop(mode)
        time.sleep(self._chance.uniform(*_DOWN_SECONDS))
        self._postgres.start()


async def _happens(event: asyncio.Event, within: float) -> bool:
    """Return whether the event happens within so many seconds."""
    try:
        await asyncio.wait_for(event.wait(), within)
    except TimeoutError:
        return False
    return True


def _discard(_rows: object) -> None:
    """Drop the rows: only the kill matters."""
