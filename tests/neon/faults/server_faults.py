"""Faults of the servers, one after another."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import psycopg

from bench.servers import USER, PgBouncer, Postgres

_OTHERS = f"FROM pg_stat_activity WHERE usename = '{USER}'"
_SECONDS = 0.4  # between two faults, on average
_STARVED_SECONDS = 1.5


class ServerFaults(threading.Thread):
    """Makes faults until it is over, and leaves every server up."""

    def __init__(
        self,
        postgres: Postgres,
        poolers: Sequence[PgBouncer],
        seed: int,
        count: Counter[str],
        over: threading.Event,
    ) -> None:
        super().__init__()
        self.failure: BaseException | None = None
        self._postgres = postgres
        self._poolers = poolers
        self._chance = random.Random(seed)  # noqa: S311
        self._count = count
        self._over = over

    def run(self) -> None:
        """Make every kind of fault once, and then random ones."""
        kinds: dict[str, tuple[float, Callable[[], int]]] = {
            "backend killed": (12, lambda: self._signal("pg_terminate_backend", 2)),
            "statement cancelled": (12, lambda: self._signal("pg_cancel_backend", 2)),
            "pooler killed and started": (4, self._restart_pooler),
            "pool starved": (2, self._starve),
            "Postgres crashed and started": (2, self._crash),
        }
        weights = [weight for weight, _ in kinds.values()]
        waiting = list(kinds)
        try:
            while not self._over.wait(self._chance.expovariate(1 / _SECONDS)):
                name = waiting[0] if waiting else self._chance.choices(list(kinds), weights)[0]
                number = kinds[name][1]()
                self._count[name] += number
                waiting = [each for each in waiting if each != name or not number]
        except BaseException as error:
            self.failure = error

    def _signal(self, function: str, most: int) -> int:
        """Signal some active backends, and return how many."""
        chosen = f"SELECT pid {_OTHERS} AND state = 'active' ORDER BY random() LIMIT {most}"
        return len(self._postgres.admin(f"SELECT {function}(pid) FROM ({chosen}) AS chosen"))

    def _restart_pooler(self) -> int:
        pooler = self._chance.choice(self._poolers)
        pooler.kill()
        pooler.start()
        return 1

    def _starve(self) -> int:
        """Hold every server connection of a pool for longer than its clients may wait."""
        url = self._chance.choice(self._poolers).url()
        with ExitStack() as stack:
            try:
                for _ in range(2):
                    holder = psycopg.connect(url, prepare_threshold=None)
                    stack.callback(holder.close)
                    holder.execute("SELECT 1")
            except psycopg.OperationalError:
                return 0  # the clients hold the connections
            self._over.wait(_STARVED_SECONDS)
        return 1

    def _crash(self) -> int:
        self._postgres.stop("immediate")
        self._postgres.start()
        return 1
