"""Where each millisecond of a cold start and each microsecond of a warm request goes.

`PYTHONPATH=layers/shared python -m bench.anatomy` prints the tables of docs/performance.md: ours
beside the floor, for a list of 20 tasks on a Postgres of this machine, and what memory sizes make
of it. Python itself times imports (`-X importtime`, the least of several runs for each module), and
a profiler the request; its shares are scaled to the time without it.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from bench import contenders, databases, measuring
from bench.contenders import FLOOR, OURS
from bench.environment import Command
from bench.measuring import Subject
from bench.scenarios import NORMAL, Bench

_RUNS = 11
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html, in MB.
_A_PROCESSOR = 1769
_DATABASE_MS = 2.0  # a round trip in the same region, with the query
_LINE = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)

# A part, and what the names of its packages begin with.
_PARTS = {
    "awslambdaric": ("awslambdaric", "simplejson", "runtime_client", "snapshot_restore"),
    "psycopg": ("psycopg",),
    "Pydantic": ("pydantic", "annotated_types", "typing_extensions", "typing_inspection"),
    "Powertools": ("aws_lambda_powertools", "jmespath"),
    "neon: the connection": ("neon", "secrets_manager", "http_client"),
    "tasks: models, rules, SQL": ("tasks",),
    "web and the handler": ("web", "app", "startup", "observability"),
}
_REST = "the standard library"

# Ours connects in a thread during INIT and keeps the collector off, which confuses Python's clock
# for imports: so these imports are not told that this is Lambda, and the collector is off for both.
_IMPORTS = "import gc; gc.disable(); import awslambdaric.bootstrap, app"
_PROFILED = """
import cProfile, json, os, pstats, sys, time

class Context:
    aws_request_id = "5b1e4c64"
    function_name = "bench"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:bench"
    get_remaining_time_in_millis = lambda self: 15000

event, times, printed = sys.stdin.read(), 3000, sys.stdout
sys.stdout = open(os.devnull, "w")
import app
handler = getattr(app, sys.argv[1])
def requests(count):
    for _ in range(count):
        json.dumps(handler(json.loads(event), Context()))
requests(500)
before = time.process_time()
requests(times)
seconds = (time.process_time() - before) / times
profile = cProfile.Profile()
profile.runcall(requests, times)
files = {}
for (file, _, _), (_, _, own, _, callers) in pstats.Stats(profile).stats.items():
    if file == "~":  # written in C: the time is its caller's
        for (caller, _, _), (_, _, part, _) in callers.items():
            files[caller] = files.get(caller, 0) + part
    else:
        files[file] = files.get(file, 0) + own
print(json.dumps([seconds, files]), file=printed)
"""


def main() -> None:
    """Measure and print the tables."""
    built = contenders.build((OURS, FLOOR))
    with tempfile.TemporaryDirectory() as folder, databases.started(Path(folder)) as started:
        bench = Bench(built, started, {}, NORMAL, lambda: None)
        subjects = bench.listings(started.local)
        warm = {name: _warm(subject) for name, subject in subjects.items()}
        cold = _cold(subjects)
    print(_table("a cold start, ms of processor time", cold, 1))
    print(_table("a warm request, us of processor time", warm, 0))
    print(_sizes(sum(warm[OURS].values()) / 1000))


def _cold(subjects: Mapping[str, Subject]) -> dict[str, dict[str, float]]:
    """Return milliseconds of each part; the rest is Python's start, connecting, the request."""
    starts = measuring.cold(subjects, _RUNS)
    parts = {name: _imports(subject.command) for name, subject in subjects.items()}
    for name, found in parts.items():
        rest = min(starts[name].cpu) * 1000 - sum(found.values())
        found["starting Python, connecting, the first request"] = rest
    return parts


def _imports(command: Command) -> dict[str, float]:
    least: dict[str, int] = {}
    for _ in range(_RUNS):
        said = _run(command, "-X", "importtime", "-c", _IMPORTS).stderr
        for own, module in _LINE.findall(said):
            least[module] = min(int(own), least.get(module, sys.maxsize))
    found = Counter[str]()
    for module, microseconds in least.items():
        found[_part(module)] += microseconds
    return {name: found[name] / 1000 for name in _names(found)}


def _warm(subject: Subject) -> dict[str, float]:
    """Return microseconds of each part; the runtime's own is what the handler leaves."""
    measured = measuring.warm({"": subject}, measuring.Effort())
    whole = min(measured[""].cpu) * 1e6
    handler = subject.command.arguments[-1].partition(".")[2]
    said = _run(subject.command, "-c", _PROFILED, handler, text=subject.ask().decode()).stdout
    seconds, files = json.loads(said)
    found = Counter[str]()
    for file, part in files.items():
        found[_part(_module(file))] += part
    scale = seconds * 1e6 / sum(found.values())
    parts = {name: found[name] * scale for name in _names(found)}
    return {"awslambdaric": whole - seconds * 1e6} | parts


def _run(command: Command, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command.arguments[0], "-S", *arguments],
        cwd=command.folder,
        env=dict(command.variables),
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )


def _module(file: str) -> str:
    """Return a file's path below the folder that it is imported from."""
    for folder in ("/SharedLayer/python/", "/ListTasks/", f"/{FLOOR}/"):
        before, found, below = file.rpartition(folder)
        if found:
            return below if before else file
    return _REST


def _part(module: str) -> str:
    top = re.split(r"[/.]", module)[0]
    for part, names in _PARTS.items():
        if any(top == name or (len(name) > 5 and top.startswith(name)) for name in names):
            return part
    return _REST


def _names(found: Mapping[str, object]) -> list[str]:
    return [name for name in (*_PARTS, _REST) if name in found]


def _table(title: str, columns: Mapping[str, Mapping[str, float]], digits: int) -> str:
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = {name: [column.get(name) for column in columns.values()] for name in names}
    rows["all of it"] = [sum(column.values()) for column in columns.values()]
    lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name, values in rows.items():
        cells = ("" if value is None else f"{value:.{digits}f}" for value in values)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _sizes(cpu: float) -> str:
    """Return what a warm request of so many milliseconds of processor time costs in Lambda.

    A function has its memory's share of a processor and is billed for memory x time, in whole
    milliseconds. Waiting for the database costs the same time at any size.
    """
    lines = ["| MB | processors | ms | GB-s for a million |", "|---" * 4 + "|"]
    for size in (128, 256, 512, 1024, _A_PROCESSOR):
        share = size / _A_PROCESSOR
        took = cpu / share + _DATABASE_MS
        billed = math.ceil(took) * size / 1024 * 1000
        lines.append(f"| {size} | {share:.2f} | {took:.1f} | {billed:,.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
