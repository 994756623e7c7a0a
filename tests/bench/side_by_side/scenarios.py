"""What is measured. Each scenario returns plain data, which becomes the JSON."""

from __future__ import annotations

import io
import statistics
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.peers import Contender
from tests.bench.side_by_side import figures, measuring
from tests.bench.side_by_side.backends import Backend
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
    """How thorough a run is."""

    name: str
    cold_rounds: int
    warm: Effort


QUICK = Level("quick", 11, Effort(lives=3, rounds=8, warm_up=50))
NORMAL = Level("normal", 21, Effort(lives=4, rounds=15))
FULL = Level("full", 41, Effort(lives=6, rounds=20))


@dataclass(slots=True)
class Bench:
    """All that scenarios need."""

    root: Path
    runtime: Runtime
    contenders: Sequence[Contender]
    backend: Backend
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

    def listing(self, contender: Contender, url: str, user: str, count: int) -> Subject:
        """The list of a user's `count` tasks."""
        event = Requests(self.root, user).event("list_tasks")
        command = self.runtime.command(contender, "list_tasks", url)
        return Subject(command, lambda: event, partial(check, "list_tasks", tasks=count))


def headline(bench: Bench) -> Result:
    """A list of twenty tasks on a Postgres of the same machine: everything there is to compare."""
    user, url, level = bench.user(LIST), bench.backend.url(), bench.level
    subjects = {each.name: bench.listing(each, url, user, LIST) for each in bench.contenders}
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
            for name in subjects
            if name != OURS and OURS in subjects
        },
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
    }


def _warm_figures(warm: Warm) -> Result:
    requests = warm.all()
    return {
        "p50_ms": _spread(requests),
        "p99_ms": round(figures.quantile(requests, 0.99) * _MS, 3),
        "cpu_ms": _spread(warm.cpu),
        "memory_mb": round(statistics.median(warm.memory) / 1e6, 1),
        "requests": len(requests),
    }


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


SCENARIOS: dict[str, Callable[[Bench], Result]] = {"headline": headline}
