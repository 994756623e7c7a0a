"""1,000 execution environments against one pooler: `python -m bench.pool_simulation`.

This is a discrete-event simulation in simulated time, so it prints the same on every machine.
Requests arrive at random (Poisson) and take a free environment, or else start one. Each sends one
unit of work to the pooler, which gives it to one of its server connections, first come first
served. Postgres shares its processors among the units at work when one begins. Times are in
milliseconds.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from itertools import count
from typing import NamedTuple

ENVIRONMENTS = 1000  # Lambda's limit of an account
COLD_MS = 450.0  # INIT with its connect, an assumption that docs/capacity.md explains
HANDLER_MS = 4.0  # in the handler beside the database
NETWORK_MS = 2.0  # to the pooler and back, within one region
SQL_MS = 0.6  # of one processor, for one unit of work
SECONDS = 20.0


class Database(NamedTuple):
    """A Neon compute: its processors and the pool of server connections in front of it."""

    name: str
    processors: float
    connections: int

    @property
    def ceiling(self) -> float:
        """Return the requests a second that its processors can do at most."""
        return self.processors / SQL_MS * 1000


class Simulation:
    """One database under one rate of requests; the first half of the time is not counted."""

    def __init__(self, database: Database, rate: int) -> None:
        self._database = database
        self._rate = rate
        self._random = random.Random(7)  # noqa: S311 - the same run every time
        self._events: list[tuple[float, int, str, float]] = []
        self._order = count()
        self._idle = self._busy_servers = 0
        self._queue: deque[tuple[float, float]] = deque()
        self._latencies: list[float] = []
        self._waits: list[float] = []
        self._refused = self._environments = self._most_waiting = 0

    def row(self) -> str:
        """Let requests arrive for `SECONDS`, finish them, and return a line of the table."""
        self._at(self._gap(), "arrive")
        while self._events:
            now, _, kind, arrived = heapq.heappop(self._events)
            getattr(self, f"_{kind}")(now, arrived)
        cells = (
            self._database.name,
            f"{self._rate:,}",
            f"{self._rate / self._database.ceiling:.2f}",
            f"{self._environments:,}",
            f"{_quantile(self._latencies, 0.5):,.0f}",
            f"{_quantile(self._latencies, 0.99):,.0f}",
            f"{_quantile(self._waits, 0.99):,.0f}",
            f"{self._most_waiting:,}",
            f"{self._refused / (len(self._latencies) + self._refused):.1%}",
        )
        return f"| {' | '.join(cells)} |"

    def _at(self, time: float, kind: str, arrived: float = 0.0) -> None:
        heapq.heappush(self._events, (time, next(self._order), kind, arrived))

    def _gap(self) -> float:
        return self._random.expovariate(self._rate / 1000)

    def _arrive(self, now: float, _: float) -> None:
        if now + (gap := self._gap()) < SECONDS * 1000:
            self._at(now + gap, "arrive")
        to_the_pooler = HANDLER_MS / 2 + NETWORK_MS / 2
        if self._idle:
            self._idle -= 1
            self._at(now + to_the_pooler, "query", now)
        elif self._environments < ENVIRONMENTS:
            self._environments += 1
            self._at(now + COLD_MS + to_the_pooler, "query", now)
        elif now > SECONDS * 500:
            self._refused += 1

    def _query(self, now: float, arrived: float) -> None:
        self._queue.append((now, arrived))
        self._most_waiting = max(self._most_waiting, len(self._queue))
        self._assign(now)

    def _assign(self, now: float) -> None:
        while self._queue and self._busy_servers < self._database.connections:
            asked, arrived = self._queue.popleft()
            self._busy_servers += 1
            if arrived > SECONDS * 500:
                self._waits.append(now - asked)
            share = min(1.0, self._database.processors / self._busy_servers)
            self._at(now + self._random.expovariate(share / SQL_MS), "answer", arrived)

    def _answer(self, now: float, arrived: float) -> None:
        self._busy_servers -= 1
        self._at(now + NETWORK_MS / 2 + HANDLER_MS / 2, "done", arrived)
        self._assign(now)

    def _done(self, now: float, arrived: float) -> None:
        self._idle += 1
        if arrived > SECONDS * 500:
            self._latencies.append(now - arrived)


def _quantile(values: list[float], part: float) -> float:
    return sorted(values)[int(len(values) * part)] if values else 0.0


def main() -> None:
    """Print the table: three sizes of Neon, from little load to overload."""
    print("| Neon | requests/s | load | environments | p50, ms | p99, ms | pool wait p99, ms |"
          " most waiting | refused by Lambda |\n|" + "---|" * 9)  # fmt: skip
    for database in (
        Database("0.25 CU", 0.25, 104),
        Database("1 CU", 1.0, 405),
        Database("4 CU", 4.0, 1619),
    ):
        for load in (0.3, 0.7, 0.95, 1.2):
            rate = int(round(database.ceiling * load, -1))
            print(Simulation(database, rate).row(), flush=True)


if __name__ == "__main__":
    main()
