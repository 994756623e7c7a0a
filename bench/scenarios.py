"""What is measured. Each scenario returns plain data, which becomes the JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from bench import measuring
from bench.contenders import OURS, Contender
from bench.contract import OPERATIONS, check, event
from bench.databases import Databases, Way, database_of
from bench.measuring import Effort, Samples, Subject

LIST = 20

Result = dict[str, Any]


class Level(NamedTuple):
    """How thorough a run is; `near` and `far` are for each of the six operations."""

    headline: Effort
    near: Effort
    far: Effort


QUICK = Level(Effort(11, 3, 8, 50), Effort(3, 1, 4, 50), Effort(3, 1, 1, 10))
NORMAL = Level(Effort(61, 4, 15, 100), Effort(9, 2, 8, 50), Effort(9, 1, 1, 5))


class Bench(NamedTuple):
    """All that scenarios need."""

    contenders: Sequence[Contender]
    databases: Databases
    ways: Mapping[str, Way]
    level: Level

    def subjects(self, way: Way, operation: str = "list_tasks") -> dict[str, Subject]:
        """Return by contender one of the six operations, for a user who has twenty tasks."""
        found = {each.name: self._subject(each, way, operation) for each in self.contenders}
        self.databases.settle()
        return found

    def _subject(self, contender: Contender, way: Way, operation: str) -> Subject:
        database, user = database_of(contender.name), f"user-of-{operation}"
        task = self.databases.tasks(database, user, LIST)[0]

        def events(times: int) -> list[bytes]:
            tasks = [task] * times
            if operation == "delete_task":  # each request needs a task of its own
                tasks = self.databases.add_tasks(database, user, times)
            return [json.dumps(event(operation, user, each)).encode() for each in tasks]

        command = contender.command(operation, way.url(contender.name))
        status = 201 if operation == "create_task" else 200
        listed = LIST if operation == "list_tasks" else None
        return Subject(command, events, partial(check, status=status, tasks=listed))


def headline(bench: Bench) -> Result:
    """A list of twenty tasks on a Postgres of the same machine, with everything to compare."""
    subjects, effort = bench.subjects(bench.databases.local), bench.level.headline
    cold, warm = measuring.cold(subjects, effort), measuring.warm(subjects, effort)
    return _compared({name: Samples(list, cold[name] | warm[name]) for name in subjects})


def endpoints(bench: Bench) -> Result:
    """All six operations on each way to the database, with the round trips of each."""
    return {
        name: _of_way(way)
        | {"operations": {each: _operation(bench, way, each) for each in OPERATIONS}}
        for name, way in bench.ways.items()
    }


def _operation(bench: Bench, way: Way, operation: str) -> Result:
    print(f"bench:   {operation}, {way.title}", file=sys.stderr)
    effort = bench.level.far if way.latency else bench.level.near
    return _compared(measuring.warm(bench.subjects(way, operation), effort, way.round_trips))


def cold_far(bench: Bench) -> Result:
    """Cold starts to the list of twenty tasks, where the database is not on this machine."""
    return {
        name: _of_way(way)
        | _compared(measuring.cold(bench.subjects(way), bench.level.far, way.round_trips))
        for name, way in bench.ways.items()
        if way is not bench.databases.local
    }


def _of_way(way: Way) -> Result:
    return {"title": way.title, "latency_ms": way.latency}


def _compared(samples: Mapping[str, Samples]) -> Result:
    """Return the figures of each contender, and ours divided by each of the others."""
    others = [name for name in samples if name != OURS and OURS in samples]
    return {
        "contenders": {name: measuring.figures(each) for name, each in samples.items()},
        "ratios": {name: measuring.ratios(samples[OURS], samples[name]) for name in others},
    }


SCENARIOS = {"headline": headline, "endpoints": endpoints, "cold-far": cold_far}
