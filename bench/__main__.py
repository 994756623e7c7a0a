"""`python -m bench`: measure, print the table, and write the results and the charts.

A run of everything writes docs/bench and the tables of docs/performance.md. A part of it, such as
`--only headline --contenders ours,floor`, writes to .bench/results.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from bench import contenders, databases, machine, report
from bench.contenders import NAMES, ROOT, WORK
from bench.contract import BenchError
from bench.scenarios import NORMAL, QUICK, SCENARIOS, Bench

_CHARTS = ROOT / ".venv-bench" / "bin" / "python"


def main() -> None:
    """Run what the command line asks for and exit with its status."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        _run(_arguments())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _interrupt(*_: object) -> NoReturn:
    """End every server and process; a second signal does not disturb that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="measure little, to see that it works")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=[*SCENARIOS])
    parser.add_argument("--contenders", default=",".join(NAMES), help="separated by commas")
    return parser.parse_args()


def _run(arguments: argparse.Namespace) -> None:
    chosen = [name for name in SCENARIOS if name in arguments.only]
    built = contenders.build(arguments.contenders.split(","), _say)
    level = QUICK if arguments.quick else NORMAL
    results: dict[str, Any] = {
        "machine": machine.describe(),
        "level": level.name,
        "load_before": round(os.getloadavg()[0], 2),
        "contenders": {each.name: each.title for each in built},
    }
    if not databases.has_pooler():
        _say("there is no PgBouncer of 1.21 or newer (PGBOUNCER can name one)")
    with (
        tempfile.TemporaryDirectory() as folder,
        databases.started(Path(folder)) as started,
        databases.ways(started, Path(folder)) as ways,
    ):
        began = time.monotonic()
        for number, name in enumerate(chosen, 1):
            _say(f"{name} ({number} of {len(chosen)}, about {SCENARIOS[name][1]:.0f} s;"
                 f" {time.monotonic() - began:.0f} s so far)")  # fmt: skip
            measure = SCENARIOS[name][0]
            results[name] = measure(Bench(built, started, ways, level, _dot))
            print(file=sys.stderr)
    is_whole = level is NORMAL and chosen == [*SCENARIOS] and len(built) == len(NAMES)
    output = ROOT / "docs" / "bench" if is_whole else WORK / "results"
    report.write(results, output)
    if is_whole:
        report.update(ROOT / "docs" / "performance.md", report.parts(results))
    if _CHARTS.exists():
        subprocess.run([_CHARTS, ROOT / "bench" / "charts.py", output], check=True)
    print(report.text(results), end="")
    _say(f"wrote {output.relative_to(ROOT)}")


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _dot() -> None:
    print(".", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
