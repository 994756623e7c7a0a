"""What is measured. Each scenario returns plain data, which becomes the JSON."""

from __future__ import annotations

import io
import random
import statistics
import zipfile
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import filling
from tests.bench.peers import OPERATIONS, Contender
from tests.bench.side_by_side import crowd, figures, measuring
from tests.bench.side_by_side.backends import POOL, Backend, Way
from tests.bench.side_by_side.figures import Ratio
from tests.bench.side_by_side.measuring import Cold, Effort, Subject, Warm
from tests.bench.side_by_side.processes import Requests, Runtime, check
from tests.bench.side_by_side.progress import Progress

OURS = "ours"
LIST = 20
_MS = 1000.0

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Level:
    """How thorough a run is.

    `near` and `far` are for each of the six endpoints, `crowd` are the seconds that each number of
    environments is kept busy, `rows` are the sizes of tables.
    """

    name: str
    cold_rounds: int
    warm: Effort
    far_starts: int
    near: Effort
    far: Effort
    crowd: float
    rows: Sequence[int]


QUICK = Level(
    name="quick",
    cold_rounds=11,
    warm=Effort(lives=3, rounds=8, warm_up=50),
    far_starts=3,
    near=Effort(lives=1, rounds=4, warm_up=50),
    far=Effort(lives=1, rounds=1, warm_up=10),
    crowd=1.0,
    rows=(1_000, 100_000),
)
NORMAL = Level(
    name="normal",
    cold_rounds=21,
    warm=Effort(lives=4, rounds=15, warm_up=100),
    far_starts=11,
    near=Effort(lives=2, rounds=8, warm_up=50),
    far=Effort(lives=1, rounds=4, warm_up=10),
    crowd=3.0,
    rows=(1_000, 10_000, 100_000, 1_000_000),
)
FULL = Level(
    name="full",
    cold_rounds=41,
    warm=Effort(lives=6, rounds=20, warm_up=100),
    far_starts=21,
    near=Effort(lives=4, rounds=10, warm_up=50),
    far=Effort(lives=2, rounds=4, warm_up=10),
    crowd=8.0,
    rows=(1_000, 10_000, 100_000, 1_000_000, 10_000_000),
)
ENVIRONMENTS = (1, 4, 16, 64)
LISTS = (10, 100, 1000)
_IN_CROWDS = (OURS, "fastapi-psycopg2", "fastapi-asyncpg", "floor")
_IN_TABLES = (OURS, "floor")


@dataclass(slots=True)
class Bench:
    """All that scenarios need."""

    root: Path
    runtime: Runtime
    contenders: Sequence[Contender]
    backend: Backend
    ways: Mapping[str, Way]
    level: Level
    progress: Progress
    _tasks: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def user(self, count: int, database: str = "tasks") -> str:
        """A user who has exactly so many tasks."""
        name = f"user-of-{count}"
        if (name, database) not in self._tasks:
            made = self.backend.add_tasks(name, count, database)
            self._tasks[name, database] = [str(each) for each in made]
            self.backend.settle(database)
        return name

    def subject(self, contender: Contender, operation: str, url: str) -> Subject:
        """One of the six endpoints, for a user who has a few tasks."""
        user = self.user(LIST)
        if operation == "list_tasks":
            return self.listing(contender, url, user)
        if operation == "delete_task":
            return self._deleting(contender, url)
        event = Requests(self.root, _writer(operation), self._task(operation)).event(operation)
        command = self.runtime.command(contender, operation, url)
        return Subject(command, lambda: event, partial(check, operation))

    def listing(self, contender: Contender, url: str, user: str, count: int = LIST) -> Subject:
        """The list of all of a user's tasks, of which there are `count`."""
        event = Requests(self.root, user).event("list_tasks")
        command = self.runtime.command(contender, "list_tasks", url)
        return Subject(command, lambda: event, partial(check, "list_tasks", tasks=count))

    def _deleting(self, contender: Contender, url: str) -> Subject:
        """What is deleted has to be there before: it is made in front of each block."""
        user = _writer("delete_task")
        requests, there = Requests(self.root, user), deque[str]()

        def prepare(count: int) -> None:
            there.extend(str(each) for each in self.backend.add_tasks(user, count))

        command = self.runtime.command(contender, "delete_task", url)
        ask = lambda: requests.event("delete_task", there.popleft())  # noqa: E731
        return Subject(command, ask, partial(check, "delete_task"), prepare)

    def _task(self, operation: str) -> str:
        """A task for this operation to work on, among a few of the same user."""
        user = _writer(operation)
        if (user, "tasks") not in self._tasks:
            made = self.backend.add_tasks(user, LIST)
            self._tasks[user, "tasks"] = [str(each) for each in made]
        return self._tasks[user, "tasks"][LIST // 2]


def _writer(operation: str) -> str:
    return f"somebody-who-uses-{operation}"


def headline(bench: Bench) -> Result:
    """A list of twenty tasks on a Postgres of the same machine: everything there is to compare."""
    user, url, level = bench.user(LIST), bench.backend.url(), bench.level
    subjects = {each.name: bench.listing(each, url, user) for each in bench.contenders}
    bench.progress.expect(level.cold_rounds + 1 + level.warm.lives * level.warm.rounds)
    cold = measuring.cold(subjects, level.cold_rounds, bench.progress.tick)
    warm = measuring.warm(subjects, level.warm, bench.progress.tick)
    sizes = {each.name: package_size(each.packages) for each in bench.contenders}
    return {
        "contenders": {
            name: _cold_figures(cold[name]) | _warm_figures(warm[name]) | sizes[name]
            for name in subjects
        },
        "ratios": {
            name: _headline_ratios(cold[OURS], cold[name], warm[OURS], warm[name])
            for name in _others(subjects)
        },
    }


def _others(names: Collection[str]) -> list[str]:
    """Whom ours is compared with."""
    return [name for name in names if name != OURS] if OURS in names else []


def endpoints(bench: Bench) -> Result:
    """All six endpoints on each way to the database, with the round trips that each takes."""
    efforts = {
        name: bench.level.far if way.latency else bench.level.near
        for name, way in bench.ways.items()
    }
    steps = sum(effort.lives * effort.rounds for effort in efforts.values())
    bench.progress.expect(steps * len(OPERATIONS))
    return {
        name: {
            "title": way.title,
            "latency_ms": way.latency,
            "operations": {each: _endpoint(bench, way, each, efforts[name]) for each in OPERATIONS},
        }
        for name, way in bench.ways.items()
    }


def _endpoint(bench: Bench, way: Way, operation: str, effort: Effort) -> Result:
    subjects = {each.name: bench.subject(each, operation, way.url) for each in bench.contenders}
    bench.backend.settle()
    found = measuring.warm(subjects, effort, bench.progress.tick, way.round_trips)
    return _warm_result(found)


def _warm_result(found: Mapping[str, Warm]) -> Result:
    return {
        "contenders": {name: _warm_figures(warm) for name, warm in found.items()},
        "ratios": {name: _warm_ratios(found[OURS], found[name]) for name in _others(found)},
    }


def cold_far(bench: Bench) -> Result:
    """Cold starts, to the list of twenty tasks, where the database is not on this machine."""
    user, starts = bench.user(LIST), bench.level.far_starts
    far = {name: way for name, way in bench.ways.items() if name != "local"}
    bench.progress.expect(len(far) * (starts + 1))
    results = {}
    for name, way in far.items():
        subjects = {each.name: bench.listing(each, way.url, user) for each in bench.contenders}
        found = measuring.cold(subjects, starts, bench.progress.tick, way.round_trips)
        results[name] = {
            "title": way.title,
            "latency_ms": way.latency,
            "contenders": {name: _cold_figures(cold) for name, cold in found.items()},
            "ratios": {
                name: {"cold": _ratio(figures.paired(found[OURS].total, found[name].total))}
                for name in _others(found)
            },
        }
    return results


def environments(bench: Bench) -> Result:
    """One to many environments at once on a pool of a few server connections."""
    chosen = [each for each in bench.contenders if each.name in _IN_CROWDS]
    way = bench.ways.get("pooler", bench.ways["local"])
    bench.progress.expect(len(chosen) * len(ENVIRONMENTS))
    random.shuffle(chosen)
    return {
        "title": way.title,
        "pool": POOL,
        "seconds": bench.level.crowd,
        "contenders": {each.name: _crowds(bench, each, way) for each in chosen},
    }


def _crowds(bench: Bench, contender: Contender, way: Way) -> Result:
    subject = bench.listing(contender, way.url, bench.user(LIST))
    results = {}
    with ExitStack() as stack:
        everybody = crowd.start(stack, subject.command, max(ENVIRONMENTS))
        for count in ENVIRONMENTS:
            found = crowd.crowd(everybody[:count], subject, bench.level.crowd)
            results[str(count)] = {
                "requests_per_second": round(found.throughput, 1),
                "p50_ms": round(figures.quantile(found.requests, 0.5) * _MS, 3),
                "p99_ms": round(figures.quantile(found.requests, 0.99) * _MS, 3),
                "requests": len(found.requests),
            }
            bench.progress.tick()
    return results


def lists(bench: Bench) -> Result:
    """Lists of some lengths, on a Postgres of the same machine."""
    effort, url = bench.level.near, bench.backend.url()
    bench.progress.expect(len(LISTS) * effort.lives * effort.rounds)
    results = {}
    for count in LISTS:
        user = bench.user(count)
        subjects = {each.name: bench.listing(each, url, user, count) for each in bench.contenders}
        results[str(count)] = _warm_result(measuring.warm(subjects, effort, bench.progress.tick))
    return results


def tables(bench: Bench) -> Result:
    """The list of twenty tasks, where they are among few and among many of other users."""
    effort, rows = bench.level.near, bench.level.rows
    bench.progress.expect(len(rows) + effort.lives * effort.rounds)
    chosen = [each for each in bench.contenders if each.name in _IN_TABLES]
    subjects = {}
    for count in rows:
        database = f"tasks_{count}"
        filling.new_database(bench.backend.server, database)
        filling.fill(bench.backend.owner_url(database), count, share=count // LIST)
        url = bench.backend.url(database)
        for each in chosen:
            subjects[each.name, count] = bench.listing(each, url, filling.USER)
        bench.progress.tick()
    named = {f"{name} {count}": subject for (name, count), subject in subjects.items()}
    found = measuring.warm(named, effort, bench.progress.tick)
    return {
        str(count): _warm_result({each.name: found[f"{each.name} {count}"] for each in chosen})
        for count in rows
    }


def _headline_ratios(our_cold: Cold, cold: Cold, our_warm: Warm, warm: Warm) -> Result:
    return {
        "cold": _ratio(figures.paired(our_cold.total, cold.total)),
        "init": _ratio(figures.paired(our_cold.init, cold.init)),
        "cold_cpu": _ratio(figures.paired(our_cold.cpu, cold.cpu)),
        **_warm_ratios(our_warm, warm),
        "memory": _ratio(figures.paired(our_warm.memory, warm.memory)),
    }


def _warm_ratios(ours: Warm, theirs: Warm) -> Result:
    return {
        "p50": _ratio(figures.paired(ours.medians(), theirs.medians())),
        "p99": _ratio(figures.pooled(ours.blocks, theirs.blocks, 0.99)),
        "cpu": _ratio(figures.paired(ours.cpu, theirs.cpu)),
    }


def _ratio(ratio: Ratio) -> Result:
    return {
        "ratio": round(ratio.value, 3),
        "low": round(ratio.low, 3),
        "high": round(ratio.high, 3),
    }


def _cold_figures(cold: Cold) -> Result:
    return {
        "init_ms": _spread(cold.init),
        "cold_ms": _spread(cold.total),
        "cold_cpu_ms": _spread(cold.cpu),
        "starts": len(cold.total),
        **_round_trips(cold.round_trips),
    }


def _warm_figures(warm: Warm) -> Result:
    requests = warm.all()
    return {
        "p50_ms": _spread(requests),
        "p99_ms": round(figures.quantile(requests, 0.99) * _MS, 3),
        "cpu_ms": _spread(warm.cpu),
        "memory_mb": round(statistics.median(warm.memory) / 1e6, 1),
        "requests": len(requests),
        **_round_trips(warm.round_trips),
    }


def _round_trips(counted: Sequence[float]) -> Result:
    """How many there were for each request, or start, where they were counted."""
    return {"round_trips": round(statistics.mean(counted), 2)} if counted else {}


def _spread(seconds: Sequence[float]) -> Result:
    """Median and quartiles, in milliseconds."""
    names = {"median": 0.5, "low": 0.25, "high": 0.75}
    return {name: round(figures.quantile(seconds, part) * _MS, 3) for name, part in names.items()}


def package_size(folders: Sequence[Path]) -> Result:
    """Megabytes of what is deployed for one function: as it lies on the disk, and zipped."""
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number, path in enumerate(files):
            zipped.write(path, f"{number}/{path.name}")
    unpacked = sum(path.stat().st_size for path in files)
    return {
        "unpacked_mb": round(unpacked / 1e6, 2),
        "zipped_mb": round(archive.tell() / 1e6, 2),
    }


SCENARIOS: dict[str, Callable[[Bench], Result]] = {
    "headline": headline,
    "endpoints": endpoints,
    "cold-far": cold_far,
    "environments": environments,
    "lists": lists,
    "tables": tables,
}
