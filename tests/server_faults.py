"""Faults of the servers, one after another, for chaos and faults."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg

from bench.servers import PgBouncer, Postgres
from local.postgres import as_another_than_root

_CLIENTS = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> 'postgres'"
_STARVED_SECONDS, _STANDBY_SECONDS = 1.5, 1.0
_ROOM_BYTES = 1 << 20  # that a process under the memory limit may still grow


class ServerFaults(threading.Thread):
    """Makes faults until it is over, each kind once and then by weight; leaves every server up.

    `count` has the faults by kind, `complete` is set once each kind has happened or the thread has
    ended, and `failure` has the exception that ended it.
    """

    def __init__(
        self,
        postgres: Postgres,
        poolers: Sequence[PgBouncer],
        weights: Mapping[str, int],
        *,
        chance: random.Random,
        seconds: float,
    ) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self.over = threading.Event()
        self.complete = threading.Event()
        self._postgres = postgres
        self._poolers = poolers
        self._weights = weights
        self._chance = chance
        self._seconds = seconds  # between two faults, on average

    def run(self) -> None:
        """Make faults until `over` is set."""
        kinds: dict[str, Callable[[], int]] = {
            "backend killed": lambda: self._signal("pg_terminate_backend", 1),
            "all backends killed": lambda: self._signal("pg_terminate_backend", 1000),
            "statement cancelled": lambda: self._signal("pg_cancel_backend", 2),
            "pooler killed and started": self._restart_pooler,
            "pool starved": self._starve,
            "Postgres stopped and started": lambda: self._restart("fast"),
            "Postgres crashed and started": lambda: self._restart("immediate"),
            "Postgres a standby": self._stand_by,
            "Postgres short of memory": self._limit_memory,
        }
        names, weights = [*self._weights], [*self._weights.values()]
        waiting = self._chance.sample(names, len(names))
        try:
            while not self.over.wait(self._chance.expovariate(1 / self._seconds)):
                name = waiting[0] if waiting else self._chance.choices(names, weights)[0]
                number = kinds[name]()
                self.count[name] += number
                waiting = [each for each in waiting if each != name or not number]
                if not waiting:
                    self.complete.set()
        except BaseException as error:
            self.failure = error
        finally:
            self.complete.set()

    def end(self) -> None:
        """Stop making faults, and raise the exception that ended the thread early."""
        self.over.set()
        self.join()
        if self.failure:
            raise self.failure

    def _signal(self, function: str, most: int) -> int:
        """Signal some backends, active ones first, and return how many."""
        chosen = f"SELECT pid {_CLIENTS} ORDER BY state = 'active' DESC LIMIT {most}"
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
            self.over.wait(_STARVED_SECONDS)
        return 1

    def _restart(self, mode: str) -> int:
        """Stop Postgres for a while, as Neon suspends a compute, or crash it."""
        self._postgres.stop(mode)
        self.over.wait(self._chance.uniform(0.0, 2.0))
        self._postgres.start()
        return 1

    def _stand_by(self) -> int:
        """Let Postgres come back as a standby, which refuses writes, and promote it later."""
        self._postgres.stop()
        self._postgres.start(standby=True)
        self.over.wait(_STANDBY_SECONDS)
        self._postgres.promote()
        return 1

    def _limit_memory(self) -> int:
        """Let the backends of the clients grow no more, until they end."""
        pids = [str(pid) for (pid,) in self._postgres.admin(f"SELECT pid {_CLIENTS}")]
        for pid in pids:
            with suppress(FileNotFoundError):  # it has ended meanwhile
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
                most = pages * os.sysconf("SC_PAGE_SIZE") + _ROOM_BYTES
                limit = ["prlimit", f"--pid={pid}", f"--as={most}:{most}"]
                subprocess.run([*as_another_than_root(), *limit], check=False, capture_output=True)
        return len(pids)
