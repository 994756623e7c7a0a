"""The results as a table for people, ratios first, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SEED = ("fastapi-psycopg2", "fastapi-asyncpg")
FLOOR = "floor"
MEASURES = {
    "cold": "cold start",
    "init": "of it INIT",
    "cold_cpu": "cold start, CPU",
    "p50": "warm p50",
    "p99": "warm p99",
    "cpu": "CPU a request",
    "memory": "peak memory",
}
# Ours by theirs, at most.
OF_SEED = {"cold": 0.45, "p50": 0.35, "p99": 0.5, "cpu": 0.35, "memory": 0.7}
OF_FLOOR = {"cold": 1.45, "p50": 1.25, "p99": 1.5, "cpu": 1.25, "memory": 1.4}
_FIGURES = {
    "cold_ms": "cold start, ms",
    "init_ms": "of it INIT, ms",
    "cold_cpu_ms": "cold start, CPU ms",
    "p50_ms": "warm p50, ms",
    "p99_ms": "warm p99, ms",
    "cpu_ms": "CPU a request, ms",
    "memory_mb": "peak memory, MB",
    "unpacked_mb": "package, MB",
    "zipped_mb": "zipped, MB",
}

Rows = Sequence[Sequence[str]]


def target(other: str, measure: str) -> float | None:
    """What ours by the other may be at most; None where nothing was promised."""
    if other in SEED:
        return OF_SEED.get(measure)
    return OF_FLOOR.get(measure) if other == FLOOR else None


def table(rows: Rows) -> str:
    """A table in Markdown whose columns are aligned, so that a terminal shows it well too."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def text(results: Mapping[str, Any]) -> str:
    """Everything that was measured, for a terminal."""
    return "\n\n".join(_sections(results)) + "\n"


def _sections(results: Mapping[str, Any]) -> Iterator[str]:
    if "headline" in results:
        yield from _headline(results["headline"])


def _headline(found: Mapping[str, Any]) -> Iterator[str]:
    if found["ratios"]:
        rows = [["ours / theirs", *found["ratios"]]]
        for measure, title in MEASURES.items():
            rows.append(
                [title, *(_judged(each, measure, of) for of, each in found["ratios"].items())]
            )
        yield "List of 20 tasks, Postgres on this machine: ratios (quartiles), targets\n\n" + table(
            rows
        )
    rows = [["", *found["contenders"]]]
    for figure, title in _FIGURES.items():
        rows.append([title, *(_figure(each[figure]) for each in found["contenders"].values())])
    yield "The same in figures: medians (quartiles)\n\n" + table(rows)


def _judged(ratios: Mapping[str, Any], measure: str, other: str) -> str:
    found, most = ratios[measure], target(other, measure)
    said = f"{found['ratio']:.2f} ({found['low']:.2f}-{found['high']:.2f})"
    if most is None:
        return said
    verdict = "met" if found["ratio"] <= most else "MISSED"
    return f"{said} <= {most:.2f} {verdict}"


def _figure(found: Any) -> str:
    if isinstance(found, Mapping):
        return f"{found['median']:.4g} ({found['low']:.4g}-{found['high']:.4g})"
    return f"{found:.4g}"


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Write results.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
