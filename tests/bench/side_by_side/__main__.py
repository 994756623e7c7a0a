"""`python -m tests.bench.side_by_side`: measure, print the table, write what it shows.

A run of everything writes docs/bench; a part of it (`--only headline --contenders ours,floor`,
less than a minute with `--quick`) writes to .bench, unless `--output` names another folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from local.errors import LocalError
from tests.bench import peers
from tests.bench.side_by_side import backends, charts, machine, processes, report
from tests.bench.side_by_side.environment import EnvironmentFailed
from tests.bench.side_by_side.progress import Progress
from tests.bench.side_by_side.scenarios import FULL, NORMAL, QUICK, SCENARIOS, Bench, Level
from tests.running import ROOT

_WEIGHTS = {
    "headline": 60.0,
    "endpoints": 200.0,
    "cold-far": 60.0,
    "environments": 120.0,
    "lists": 30.0,
    "tables": 40.0,
}


def main() -> None:
    """Run what the command line asks for and exit with its status."""
    # The default of SIGTERM would leave servers and processes behind.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        _run(_arguments())
    except (LocalError, EnvironmentFailed) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _interrupt(*_: object) -> NoReturn:
    # Once only, so that a second one does not disturb the ending.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.side_by_side")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="level", const=QUICK)
    size.add_argument("--full", action="store_const", dest="level", const=FULL)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, metavar="SCENARIO",
                        help=", ".join(SCENARIOS))  # fmt: skip
    parser.add_argument("--contenders", help="names, separated by commas")
    parser.add_argument("--output", type=Path, help="where results.json and the charts go")
    parser.set_defaults(level=NORMAL)
    return parser.parse_args()


def _run(arguments: argparse.Namespace) -> None:
    busy = os.getloadavg()[0]
    names = arguments.only or [*SCENARIOS]
    level: Level = arguments.level
    progress = Progress({name: _WEIGHTS[name] for name in names})
    if busy > 0.5:
        progress.say(f"{busy:.1f} other processes are running (load): tails will tell of them")
    chosen = {"names": arguments.contenders.split(",")} if arguments.contenders else {}
    runtime = processes.install_runtime(ROOT, processes.WORK, progress.say)
    contenders = peers.build(ROOT, processes.CONTENDERS, progress.say, **chosen)
    results: dict[str, Any] = {
        "machine": machine.describe(runtime),
        "level": level.name,
        "load_before": round(busy, 2),
        "contenders": {each.name: each.title for each in contenders},
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        backends.local_postgres(Path(folder)) as backend,
        backends.ways(backend, Path(folder), progress.say) as ways,
    ):
        bench = Bench(ROOT, runtime, contenders, backend, ways, level, progress)
        for name in names:
            progress.scenario(name)
            results[name] = SCENARIOS[name](bench)
    is_whole = not arguments.only and not arguments.contenders
    output = arguments.output or (
        ROOT / "docs" / "bench" if is_whole else processes.WORK / "results"
    )
    report.write(results, output)
    charts.write(results, output)
    print(report.text(results), end="")


if __name__ == "__main__":
    main()
