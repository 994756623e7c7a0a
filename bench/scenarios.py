"""What is measured. Each scenario returns plain data, which becomes the JSON."""

from __future__ import annotations

import io
import json
import statistics
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import figures, measuring
from bench.contenders import FLOOR, OURS, Contender
from bench.contract import OPERATIONS, check, event
from bench.databases import POOL, Databases, Way, database_of
from bench.measuring import Cold, Effort, Subject, Warm

LIST = 20
ENVIRONMENTS = (1, 4, 16, 64)
LISTS = (10, 100, 1000)
_IN_CROWDS = (OURS, "fastapi-psycopg2", "fastapi-asyncpg", FLOOR)

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Level:
    """How thorough a run is: `near` and `far` are for each of the six operations, `crowd` are the
    seconds that each number of environments is kept busy."""

    name: str
    cold_starts: int
    warm: Effort
    far_starts: int
    near: Effort
    far: Effort
    crowd: float


QUICK = Level("quick", 11, Effort(3, 8, 50), 3, Effort(1, 4, 50), Effort(1, 1, 10), 1.0)
NORMAL = Level("normal", 21, Effort(4, 15, 100), 9, Effort(2, 8, 50), Effort(1, 1, 5), 3.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """All that scenarios need; `tick` shows that one more step was done."""

    contenders: Sequence[Contender]
    databases: Databases
    ways: Mapping[str, Way]
    level: Level
    tick: Callable[[], None]

    def listings(self, way: Way, count: int = LIST) -> dict[str, Subject]:
        """Return by contender the list of all tasks of a user who has exactly so many."""
        return {each.name: self.listing(each, way, count) for each in self.contenders}

    def listing(self, contender: Contender, way: Way, count: int = LIST) -> Subject:
        """Return the list of all tasks of a user who has exactly so many."""
        user = f"user-of-{count}"
        self.databases.tasks(database_of(contender.name), user, count)
        sent = _json(event("list_tasks", user))
        command = contender.command("list_tasks", way.url(contender.name))
        return Subject(command, lambda: sent, partial(check, "list_tasks", tasks=count))

    def subject(self, contender: Contender, operation: str, way: Way) -> Subject:
        """Return one of the six operations, for a user who has a few tasks."""
        if operation == "list_tasks":
            return self.listing(contender, way)
        database, user = database_of(contender.name), f"somebody-who-uses-{operation}"
        command = contender.command(operation, way.url(contender.name))
        if operation == "delete_task":  # each request needs a task of its own
            there = deque[str]()
            return Subject(
                command,
                lambda: _json(event(operation, user, there.popleft())),
                partial(check, operation),
                lambda count: there.extend(self.databases.add_tasks(database, user, count)),
            )
        task = self.databases.tasks(database, user, LIST)[LIST // 2]
        sent = _json(event(operation, user, "" if operation == "create_task" else task))
        return Subject(command, lambda: sent, partial(check, operation))


def _json(document: Result) -> bytes:
    return json.dumps(document).encode()


def headline(bench: Bench) -> Result:
    """A list of twenty tasks on a Postgres of the same machine, with everything to compare."""
    subjects = bench.listings(bench.databases.local)
    cold = measuring.cold(subjects, bench.level.cold_starts, bench.tick)
    warm = measuring.warm(subjects, bench.level.warm, bench.tick)
    return {
        "contenders": {
            each.name: _cold_figures(cold[each.name])
            | _warm_figures(warm[each.name])
            | package_size(each.packages)
            for each in bench.contenders
        },
        "ratios": {
            name: _cold_ratios(cold[OURS], cold[name])
            | _warm_ratios(warm[OURS], warm[name])
            | {"memory": figures.paired(warm[OURS].memory, warm[name].memory)}
            for name in _others(subjects)
        },
    }


def endpoints(bench: Bench) -> Result:
    """All six operations on each way to the database, with the round trips of each."""
    return {
        name: _of_way(way)
        | {"operations": {each: _operation(bench, way, each) for each in OPERATIONS}}
        for name, way in bench.ways.items()
    }


def _operation(bench: Bench, way: Way, operation: str) -> Result:
    effort = bench.level.far if way.latency else bench.level.near
    subjects = {each.name: bench.subject(each, operation, way) for each in bench.contenders}
    bench.databases.settle()
    return _warm_result(measuring.warm(subjects, effort, bench.tick, way.count))


def cold_far(bench: Bench) -> Result:
    """Cold starts to the list of twenty tasks, where the database is not on this machine."""
    results = {}
    for name, way in bench.ways.items():
        if name == "local":
            continue
        found = measuring.cold(bench.listings(way), bench.level.far_starts, bench.tick, way.count)
        results[name] = _of_way(way) | {
            "contenders": {name: _cold_figures(cold) for name, cold in found.items()},
            "ratios": {name: _cold_ratios(found[OURS], found[name]) for name in _others(found)},
        }
    return results


def environments(bench: Bench) -> Result:
    """One to many environments at once on a pool of a few server connections."""
    way = bench.ways.get("pooler", bench.databases.local)
    chosen = [each for each in bench.contenders if each.name in _IN_CROWDS]
    found = {each.name: _crowds(bench, each, way) for each in chosen}
    return {"title": way.title, "pool": POOL, "contenders": found}


def _crowds(bench: Bench, contender: Contender, way: Way) -> Result:
    subject, results = bench.listing(contender, way), {}
    with ExitStack() as stack:
        everybody = measuring.start_crowd(stack, subject.command, max(ENVIRONMENTS))
        for count in ENVIRONMENTS:
            taken, seconds = measuring.crowd(everybody[:count], subject, bench.level.crowd)
            results[str(count)] = {
                "requests_per_second": round(len(taken) / seconds, 1),
                "p50_ms": round(figures.quantile(taken, 0.5) * 1000, 3),
                "p99_ms": round(figures.quantile(taken, 0.99) * 1000, 3),
                "requests": len(taken),
            }
            bench.tick()
    return results


def lists(bench: Bench) -> Result:
    """Lists of some lengths, on a Postgres of the same machine."""
    way, effort = bench.databases.local, bench.level.near
    return {
        str(count): _warm_result(measuring.warm(bench.listings(way, count), effort, bench.tick))
        for count in LISTS
    }


def _of_way(way: Way) -> Result:
    return {"title": way.title, "latency_ms": way.latency}


def _others(names: Iterable[str]) -> list[str]:
    """Return whom ours is compared with."""
    found = [*names]
    return [name for name in found if name != OURS] if OURS in found else []


def _warm_result(found: Mapping[str, Warm]) -> Result:
    return {
        "contenders": {name: _warm_figures(warm) for name, warm in found.items()},
        "ratios": {name: _warm_ratios(found[OURS], found[name]) for name in _others(found)},
    }


def _cold_ratios(ours: Cold, theirs: Cold) -> Result:
    return {
        "cold": figures.paired(ours.total, theirs.total),
        "init": figures.paired(ours.init, theirs.init),
        "cold_cpu": figures.paired(ours.cpu, theirs.cpu),
    }


def _warm_ratios(ours: Warm, theirs: Warm) -> Result:
    return {
        "p50": figures.paired(ours.medians(), theirs.medians()),
        "p99": figures.pooled(ours.blocks, theirs.blocks, 0.99),
        "cpu": figures.paired(ours.cpu, theirs.cpu),
    }


def _cold_figures(cold: Cold) -> Result:
    return {
        "init_ms": figures.milliseconds(cold.init),
        "cold_ms": figures.milliseconds(cold.total),
        "cold_cpu_ms": figures.milliseconds(cold.cpu),
        "starts": len(cold.total),
        **_round_trips(cold.round_trips),
    }


def _warm_figures(warm: Warm) -> Result:
    requests = warm.all()
    return {
        "p50_ms": figures.milliseconds(requests),
        "p99_ms": round(figures.quantile(requests, 0.99) * 1000, 3),
        "cpu_ms": figures.milliseconds(warm.cpu),
        "memory_mb": round(statistics.median(warm.memory) / 1e6, 1),
        "requests": len(requests),
        **_round_trips(warm.round_trips),
    }


def _round_trips(counted: Sequence[float]) -> Result:
    """Return how many there were for each request, or start, where a relay counted them."""
    return {"round_trips": round(statistics.mean(counted), 2)} if any(counted) else {}


def package_size(folders: Sequence[Path]) -> Result:
    """Return the megabytes that are deployed for one function: on the disk, and zipped."""
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number, path in enumerate(files):
            zipped.write(path, f"{number}/{path.name}")
    unpacked = sum(path.stat().st_size for path in files)
    return {"unpacked_mb": round(unpacked / 1e6, 2), "zipped_mb": round(archive.tell() / 1e6, 2)}


# By name: the scenario, and roughly the seconds that it takes at the normal level.
SCENARIOS: dict[str, tuple[Callable[[Bench], Result], float]] = {
    "headline": (headline, 75),
    "endpoints": (endpoints, 300),
    "cold-far": (cold_far, 80),
    "environments": (environments, 130),
    "lists": (lists, 70),
}
