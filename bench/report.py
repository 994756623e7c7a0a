"""The results as Markdown tables, and the pages that show them."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import servers
from bench.contenders import FLOOR, lambda_python, run, runtime_client
from bench.databases import FAR
from local.postgres import BINARIES

Results = Mapping[str, Any]
PAGES = ("README.md", "docs/performance.md")
MEASURES = {
    "cold": "cold start",
    "init": "INIT alone",
    "cold_cpu": "CPU of a cold start",
    "p50": "p50 of a warm request",
    "p99": "p99 of a warm request",
    "cpu": "CPU of a warm request",
    "memory": "peak memory",
}
# What ours divided by theirs may be at most.
TARGETS: Mapping[str, Mapping[str, float]] = {
    "fastapi-psycopg2": {"cold": 0.45, "p50": 0.35, "p99": 0.5, "cpu": 0.4, "memory": 0.7},
    "powertools": dict.fromkeys(("cold", "p50", "p99", "cpu", "memory"), 0.95),
    FLOOR: {"cold": 1.5, "p50": 1.3, "cpu": 1.4},
}


def conditions() -> str:
    """Return the machine's kind and load and the versions, as a sentence for the pages."""
    processor = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    client = next(runtime_client().glob("awslambdaric-*.dist-info")).name.split("-")[1]
    postgres = run([BINARIES / "postgres", "--version"]).split()[-1]
    pooler = ".".join(map(str, servers.pgbouncer_version())) or "absent"
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} cores"
        f" ({processor[1] if processor else platform.machine()}), load {os.getloadavg()[0]:.2f}"
        f" before it;\n{run([lambda_python(), '--version']).strip()}, awslambdaric"
        f" {client.removesuffix('.dist')}, Postgres {postgres}, PgBouncer {pooler}."
    )


# --- the tables ---


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in padded]
    return "\n".join([lines[0], f"|{'|'.join('-' * (each + 2) for each in widths)}|", *lines[1:]])


def parts(results: Results) -> dict[str, str]:
    """Return the tables by the names of their markers in the pages."""
    found = {"conditions": results["conditions"]}
    if "headline" in results:
        found["headline"] = _headline(results)
        found["ratios"] = _ratios(results["headline"]["ratios"])
        found["figures"] = _folded(
            "the milliseconds and megabytes", _figures(results["headline"]["contenders"])
        )
    if "endpoints" in results:
        ways = results["endpoints"].values()
        found["endpoints"] = "\n\n".join(_compared(way["title"], way["operations"]) for way in ways)
    if results.get("cold-far"):
        starts = {way["title"]: way for way in results["cold-far"].values()}
        found["cold-far"] = _compared("Cold starts", starts, "cold", "init", "cold_trips")
    return found


def _ratios(ratios: Results) -> str:
    rows = [["ours / theirs", *ratios]]
    for measure, title in MEASURES.items():
        rows.append([title, *(_judged(each[measure], measure, of) for of, each in ratios.items())])
    return table(rows)


def _judged(found: Results, measure: str, other: str) -> str:
    most = TARGETS[other].get(measure)
    if most is None:
        return _spread(found, ".2f")
    verdict = "met" if found["median"] <= most else "MISSED"
    return f"{_spread(found, '.2f')} <= {most:.2f} {verdict}"


def _figures(contenders: Results) -> str:
    rows = [["", *contenders]]
    for measure, title in MEASURES.items():
        named = f"{title}, {'MB' if measure == 'memory' else 'ms'}"
        rows.append([named, *(_spread(each[measure], ".4g") for each in contenders.values())])
    return table(rows)


def _compared(title: str, found: Results, *of: str) -> str:
    """Return the ratios of a measure, and folded it, another one, and the round trips if any."""
    main, other, trips = of or ("p50", "p99", "trips")
    first = next(iter(found.values()))
    ratios = [["", *(f"ours / {name}" for name in first["ratios"])]]
    times = [["", *first["contenders"]]]
    for what, each in found.items():
        ratios.append([what, *(_spread(of[main], ".2f") for of in each["ratios"].values())])
        cells = []
        for one in each["contenders"].values():
            counted = f", {one[trips]['median']:g} rt" if one[trips]["median"] else ""
            cells.append(f"{one[main]['median']:.4g} ({one[other]['median']:.4g}){counted}")
        times.append([what, *cells])
    summary = f"{MEASURES[main]} ({MEASURES[other]}) in ms, and round trips (rt)"
    return f"{title}: {MEASURES[main]}\n\n{table(ratios)}\n\n{_folded(summary, table(times))}"


def _folded(summary: str, text: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


def _spread(found: Results, form: str) -> str:
    """Return the median, and the quartiles where there are some."""
    text = f"{found['median']:{form}}"
    return f"{text} ({found['low']:{form}}-{found['high']:{form}})" if "low" in found else text


def _headline(results: Results) -> str:
    """Return README's table: four ratios without their spread, one of them from a far database."""
    ratios = results["headline"]["ratios"]
    rows = [["ours / theirs", *(results["contenders"][name] for name in ratios)]]
    measures = ("cold", "p50", "memory")
    rows.extend([MEASURES[measure], *_medians(ratios, measure)] for measure in measures)
    if way := results.get("endpoints", {}).get(FAR):
        listed = way["operations"]["list_tasks"]["ratios"]
        rows.append(["p50, database 20 ms away", *_medians(listed, "p50")])
    return table(rows)


def _medians(ratios: Results, measure: str) -> list[str]:
    return [f"{each[measure]['median']:.2f}" for each in ratios.values()]


def update(page: Path, parts: Mapping[str, str]) -> None:
    """Replace everything that stands between `<!-- bench:NAME -->` and `<!-- /bench -->`.

    Raise KeyError when the page marks a part that was not measured.
    """
    marked = re.compile(r"(<!-- bench:(\S+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
    made = marked.sub(
        lambda found: f"{found[1]}\n{parts[found[2]]}\n\n{found[3]}", page.read_text()
    )
    page.write_text(made)
