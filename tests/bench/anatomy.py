"""Where each millisecond of a cold start and each microsecond of a warm request goes.

    PYTHONPATH=layers/shared python -m tests.bench.anatomy

Prints tables for docs/performance.md, ours beside the floor's, for a list of 20 tasks on a Postgres
of this machine, and what memory sizes make of it. Importing is timed by Python itself
(`-X importtime`, the least of several runs for each module), a request by a profiler whose shares
are scaled to the time without it.
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

from tests.bench.peers import Contender, build
from tests.bench.side_by_side import measuring
from tests.bench.side_by_side.backends import local_postgres
from tests.bench.side_by_side.environment import Command, Environment
from tests.bench.side_by_side.processes import (
    CONTENDERS,
    WORK,
    Requests,
    Runtime,
    check,
    install_runtime,
)
from tests.running import ROOT

_COMPARED = ("ours", "floor")
USER = "alice"
LIST = 20
_RUNS = 11
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html, in MB.
_A_PROCESSOR = 1769
_DATABASE_MS = 2.0  # a round trip in the same region, with the query
_LINE = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)

# The first that a module's name or a file's path has in it.
_PARTS = (
    ("awslambdaric", ("awslambdaric", "simplejson", "runtime_client", "snapshot_restore")),
    ("psycopg", ("psycopg",)),
    ("Pydantic", ("pydantic", "annotated_types", "typing_extensions", "typing_inspection")),
    ("the connection helper", ("neon",)),
    ("tasks: models, rules, SQL", ("tasks",)),
    ("HTTP and the handler", ("web", "app", "bare")),
)
_REST = "the standard library"

_OURS = "import gc; gc.disable(); "
_IMPORTS = "import awslambdaric.bootstrap, app"
_PROFILED = """
import cProfile, io, json, os, pstats, sys, time

class Context:
    aws_request_id = "5b1e4c64"
    function_name = "bench"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"
    get_remaining_time_in_millis = lambda self: 15000

event, times, printed = sys.stdin.read(), 3000, sys.stdout
sys.stdout = open(os.devnull, "w")
import app
def requests(count):
    for _ in range(count):
        json.dumps(app.handler(json.loads(event), Context()))
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
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, local_postgres(Path(folder)) as backend:
        backend.add_tasks(USER, LIST)
        backend.settle()
        runtime = install_runtime(ROOT, WORK, _say)
        contenders = build(ROOT, CONTENDERS, _say, _COMPARED)
        cold, warm = {}, {}
        for contender in contenders:
            _say(f"taking {contender.name} to pieces")
            command = runtime.command(contender, "list_tasks", backend.url())
            cold[contender.name] = _cold(command)
            warm[contender.name] = _warm(contender, command, runtime)
    print(_table("a cold start, ms of processor time", cold, 1))
    print()
    print(_table("a warm request, us of processor time", warm, 0))
    print()
    print(_sizes(sum(warm["ours"].values()) / 1000))


def _cold(command: Command) -> dict[str, float]:
    """Milliseconds of each part."""
    event = Requests(ROOT, USER).event("list_tasks")
    parts, starts = _imports(command), _starts(command, event)
    init, total = (min(each) * 1000 for each in zip(*starts, strict=True))
    rest = init - sum(parts.values())
    first = total - init
    return {**parts, "starting Python, connecting": rest, "the first request": first}


def _imports(command: Command) -> dict[str, float]:
    """Milliseconds of importing each part.

    Ours connects in a thread while it imports, which Python's clock for imports is not made for:
    it is not told that this is Lambda, and what it does there to the collector is done for it.
    """
    program = _OURS + _IMPORTS if command.name.startswith("ours") else _IMPORTS
    least: dict[str, int] = {}
    for _ in range(_RUNS):
        result = subprocess.run(
            [command.arguments[0], "-S", "-X", "importtime", "-c", program],
            cwd=command.folder,
            env=dict(command.variables),
            capture_output=True,
            text=True,
            check=True,
        )
        for own, module in _LINE.findall(result.stderr):
            least[module] = min(int(own), least.get(module, sys.maxsize))
    found = Counter[str]()
    for module, microseconds in least.items():
        found[_part(module)] += microseconds
    return {name: found[name] / 1000 for name in _names(found)}


def _starts(command: Command, event: bytes) -> list[tuple[float, float]]:
    """Processor seconds until the first poll, and until the second."""
    found = []
    for _ in range(_RUNS):
        with Environment(command) as environment:
            environment.ready()
            init = environment.cpu()
            environment.invoke(event)
            found.append((init, environment.cpu()))
    return found


def _warm(contender: Contender, command: Command, runtime: Runtime) -> dict[str, float]:
    """Microseconds of each part; the runtime's own is what the handler's leave of the whole."""
    event = Requests(ROOT, USER).event("list_tasks")
    subject = measuring.Subject(command, lambda: event, lambda answer: check("list_tasks", answer))
    measured = measuring.warm({contender.name: subject}, measuring.Effort(), lambda: None)
    whole = min(measured[contender.name].cpu) * 1e6
    result = subprocess.run(
        [runtime.python, "-S", "-c", _PROFILED],
        cwd=command.folder,
        env=dict(command.variables),
        input=event.decode(),
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, files = json.loads(result.stdout)
    found = Counter[str]()
    for file, part in files.items():
        found[_part(str(Path(file).relative_to(_root_of(file))))] += part
    scale = seconds * 1e6 / sum(found.values())
    parts = {name: found[name] * scale for name in _names(found)}
    return {"awslambdaric": whole - seconds * 1e6} | parts


def _root_of(file: str) -> str:
    """The folder that packages are imported from."""
    for folder in ("python/", "list_tasks/", "ListTasks/", "python3.13/"):
        before, found, _ = file.rpartition(f"/{folder}")
        if found:
            return before + found
    return str(Path(file).parent)


def _part(name: str) -> str:
    top = re.split(r"[/.]", name)[0]
    for part, words in _PARTS:
        if any(top == word or (top.startswith(word) and len(word) > 5) for word in words):
            return part
    return _REST


def _names(found: Mapping[str, object]) -> list[str]:
    return [name for name in (*(part for part, _ in _PARTS), _REST) if name in found]


def _table(title: str, columns: Mapping[str, Mapping[str, float]], digits: int) -> str:
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name in names:
        cells = (
            f"{column[name]:.{digits}f}" if name in column else "" for column in columns.values()
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    sums = (f"{sum(column.values()):.{digits}f}" for column in columns.values())
    return "\n".join([*lines, f"| all of it | {' | '.join(sums)} |"])


def _sizes(cpu: float) -> str:
    """What a warm request of so many milliseconds of processor time takes and costs in Lambda.

    A function has its memory's share of a processor and is billed for memory x time, in whole
    milliseconds; waiting for the database costs the same time at any size.
    """
    lines = ["| MB | processors | ms | GB-s for a million |", "|---" * 4 + "|"]
    for size in (128, 256, 512, 1024, _A_PROCESSOR):
        share = size / _A_PROCESSOR
        took = cpu / share + _DATABASE_MS
        billed = math.ceil(took) * size / 1024 * 1000
        lines.append(f"| {size} | {share:.2f} | {took:.1f} | {billed:,.0f} |")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(f"anatomy: {text}", file=sys.stderr)


if __name__ == "__main__":
    main()
