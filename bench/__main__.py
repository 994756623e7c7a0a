"""`python -m bench`: measure, print the tables, and write the pages and the charts.

A run of everything writes the marked tables of README.md and docs/performance.md, and docs/bench. A
part of it, such as `--only headline --contenders ours,floor`, writes .bench/results.json alone.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from bench import contenders, databases, report
from bench.contenders import NAMES, ROOT, WORK
from bench.contract import BenchError
from bench.scenarios import NORMAL, QUICK, SCENARIOS, Bench

RESULTS = WORK / "results.json"
_CHARTS = ROOT / ".venv-bench" / "bin" / "python"


def main() -> None:
    """Run what the command line asks for and exit with its status."""
    signal.signal(signal.SIGTERM, _interrupt)
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="measure little, to see that it works")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=[*SCENARIOS])
    parser.add_argument("--contenders", default=",".join(NAMES), help="separated by commas")
    try:
        _run(parser.parse_args())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _interrupt(*_: object) -> NoReturn:
    """End every server and process, as Ctrl-C does."""
    raise KeyboardInterrupt


def _run(arguments: argparse.Namespace) -> None:
    chosen = [name for name in SCENARIOS if name in arguments.only]
    built = contenders.build(arguments.contenders.split(","))
    results: dict[str, Any] = {
        "conditions": report.conditions(),
        "contenders": {each.name: each.title for each in built},
    }
    if not databases.has_pooler():
        _say("there is no PgBouncer of 1.21 or newer (PGBOUNCER can name one)")
    with (
        tempfile.TemporaryDirectory() as folder,
        databases.started(Path(folder)) as started,
        databases.ways(started, Path(folder)) as ways,
    ):
        bench = Bench(built, started, ways, QUICK if arguments.quick else NORMAL)
        for number, name in enumerate(chosen, 1):
            _say(f"{name} ({number} of {len(chosen)})")
            results[name] = SCENARIOS[name](bench)
    is_all = chosen == [*SCENARIOS] and len(built) == len(NAMES) and databases.has_pooler()
    _write(results, is_whole=is_all and not arguments.quick)


def _write(results: dict[str, Any], *, is_whole: bool) -> None:
    """Print the tables and keep the results; a run of everything writes the pages and charts."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))
    parts = report.parts(results)
    print("\n\n".join(parts.values()))
    if is_whole:
        for page in report.PAGES:
            report.update(ROOT / page, parts)
        charts = ROOT / "bench" / "charts.py"
        subprocess.run([_CHARTS, charts, RESULTS, ROOT / "docs" / "bench"], check=True)
    _say(f"all figures are in {RESULTS.relative_to(ROOT)}")


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
