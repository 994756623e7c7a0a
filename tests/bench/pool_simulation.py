"""1,000 execution environments against one pooler: `python -m tests.bench.pool_simulation`.

A discrete-event simulation in simulated time, so that it says the same on every machine. Requests
arrive at random (Poisson) and take a free environment, else start one. Each sends one unit of work
to the pooler, which hands it to one of its server connections, first come first served; Postgres
shares its processors among those at work when a unit of work begins. Times are in milliseconds.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count

ENVIRONMENTS = 1000  # Lambda's limit of an account
COLD_MS = 450.0  # INIT with its connect, an assumption; docs/capacity.md says from what
HANDLER_MS = 4.0  # in the handler beside the database
NETWORK_MS = 2.0  # to the pooler and back, within one region
SQL_MS = 0.6  # of one processor, for one unit of work
SECONDS = 20.0


@dataclass(frozen=True)
class Database:
    """A Neon compute: its processors and the pool of server connections before it."""

    name: str
    processors: float
    connections: int

    @property
    def ceiling(self) -> float:
        """Requests a second at most: processors by the time that one unit of work takes."""
        return self.processors / SQL_MS * 1000


@dataclass
class Result:
    """What happened to the requests that arrived after the start had settled."""

    latencies: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    refused: int = 0
    environments: int = 0
    most_waiting: int = 0

    def row(self, database: Database, rate: int) -> str:
        """A line of the table."""
        self.latencies.sort()
        self.waits.sort()
        total = len(self.latencies) + self.refused
        cells = (
            database.name,
            f"{rate:,}",
            f"{rate / database.ceiling:.2f}",
            f"{self.environments:,}",
            f"{_part(self.latencies, 0.5):,.0f}",
            f"{_part(self.latencies, 0.99):,.0f}",
            f"{_part(self.waits, 0.99):,.0f}",
            f"{self.most_waiting:,}",
            f"{self.refused / total:.1%}",
        )
        return f"| {' | '.join(cells)} |"


def _part(values: list[float], share: float) -> float:
    return values[int(len(values) * share)] if values else 0.0


class Simulation:
    """One database under one rate of requests."""

    def __init__(self, database: Database, rate: float) -> None:
        self._database = database
        self._rate = rate
        self._random = random.Random(7)  # noqa: S311 - the same run every time
        self._events: list[tuple[float, int, str, float]] = []
        self._order = count()
        self._idle = 0
        self._busy_servers = 0
        self._queue: deque[tuple[float, float]] = deque()
        self._result = Result()

    def run(self) -> Result:
        """Let requests arrive for `SECONDS`, then let those at work finish."""
        self._at(self._gap(), "arrive")
        while self._events:
            now, _, kind, arrived = heapq.heappop(self._events)
            getattr(self, f"_{kind}")(now, arrived)
        return self._result

    def _at(self, time: float, kind: str, arrived: float = 0.0) -> None:
        heapq.heappush(self._events, (time, next(self._order), kind, arrived))

    def _gap(self) -> float:
        return self._random.expovariate(self._rate / 1000)

    def _arrive(self, now: float, _: float) -> None:
        if now + (gap := self._gap()) < SECONDS * 1000:
            self._at(now + gap, "arrive")
        if self._idle:
            self._idle -= 1
            self._at(now + HANDLER_MS / 2 + NETWORK_MS / 2, "query", now)
        elif self._result.environments < ENVIRONMENTS:
            self._result.environments += 1
            self._at(now + COLD_MS + HANDLER_MS / 2 + NETWORK_MS / 2, "query", now)
        elif now > SECONDS * 500:
            self._result.refused += 1

    def _query(self, now: float, arrived: float) -> None:
        self._queue.append((now, arrived))
        self._result.most_waiting = max(self._result.most_waiting, len(self._queue))
        self._assign(now)

    def _assign(self, now: float) -> None:
        while self._queue and self._busy_servers < self._database.connections:
            asked, arrived = self._queue.popleft()
            self._busy_servers += 1
            if arrived > SECONDS * 500:
                self._result.waits.append(now - asked)
            share = min(1.0, self._database.processors / self._busy_servers)
            self._at(now + self._random.expovariate(share / SQL_MS), "answer", arrived)

    def _answer(self, now: float, arrived: float) -> None:
        self._busy_servers -= 1
        self._at(now + NETWORK_MS / 2 + HANDLER_MS / 2, "done", arrived)
        self._assign(now)

    def _done(self, now: float, arrived: float) -> None:
        self._idle += 1
        if arrived > SECONDS * 500:
            self._result.latencies.append(now - arrived)


def main() -> None:
    """Print the table: three sizes of Neon, from ease to overload."""
    print("| Neon | requests/s | load | environments | p50, ms | p99, ms | pool wait p99, ms |"
          " most waiting | refused by Lambda |\n|" + "---|" * 9)  # fmt: skip
    for database in (
        Database("0.25 CU", 0.25, 104),
        Database("1 CU", 1.0, 405),
        Database("4 CU", 4.0, 1619),
    ):
        for load in (0.3, 0.7, 0.95, 1.2):
            rate = round(database.ceiling * load, -1)
            print(Simulation(database, rate).run().row(database, int(rate)), flush=True)


if __name__ == "__main__":
    main()
