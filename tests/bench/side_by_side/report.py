"""The results as a table for people, ratios first, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SEED = ("fastapi-psycopg2", "fastapi-asyncpg")
FLOOR = "floor"
OURS = "ours"
_FAR = "pooler-20ms"
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


def verdicts(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each target that this run can judge: what, compared with whom, found, at most, and met."""
    return [
        {"what": what, "of": other, "found": found, "most": most, "met": found <= most}
        for what, other, found, most in _judgements(results)
    ]


def _judgements(results: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float]]:
    for other, ratios in results.get("headline", {}).get("ratios", {}).items():
        for measure in MEASURES:
            most = target(other, measure)
            if most is not None:
                yield MEASURES[measure], other, ratios[measure]["ratio"], most
    ways = {
        name: {
            operation: each["contenders"].get(OURS) for operation, each in way["operations"].items()
        }
        for name, way in results.get("endpoints", {}).items()
    }
    for name, operations in ways.items():
        for operation, ours in operations.items():
            if ours and "round_trips" in ours:
                yield f"round trips, {operation}, {name}", "", ours["round_trips"], 1.0
            if ours and name == _FAR:
                near = ways["local"][operation]["p50_ms"]["median"]
                latency = results["endpoints"][name]["latency_ms"]
                most = round(1.1 * latency + near, 3)
                yield f"p50 in ms, {operation}, {name}", "", ours["p50_ms"]["median"], most


def text(results: Mapping[str, Any]) -> str:
    """Everything that was measured, for a terminal."""
    return "\n\n".join(_sections(results)) + "\n"


def _sections(results: Mapping[str, Any]) -> Iterator[str]:
    if "headline" in results:
        yield from _headline(results["headline"])
    for way in results.get("endpoints", {}).values():
        yield _measured(f"A warm request, {way['title']}", way["operations"])
    for way in results.get("cold-far", {}).values():
        yield _far_start(way)
    if "environments" in results:
        yield _environments(results["environments"])
    if "lists" in results:
        yield _measured("Lists on this machine, by their length", results["lists"])
    if "tables" in results:
        yield _measured("A list of 20 tasks, by the rows of the table", results["tables"])
    judged = verdicts(results)
    if judged:
        yield _summary(judged)


def _headline(found: Mapping[str, Any]) -> Iterator[str]:
    ratios = found["ratios"]
    if ratios:
        rows = [["ours / theirs", *ratios]]
        for measure, title in MEASURES.items():
            rows.append([title, *(_judged(each, measure, of) for of, each in ratios.items())])
        title = "List of 20 tasks, Postgres on this machine: ratios (quartiles), targets"
        yield f"{title}\n\n{table(rows)}"
    rows = [["", *found["contenders"]]]
    for figure, title in _FIGURES.items():
        rows.append([title, *(_figure(each[figure]) for each in found["contenders"].values())])
    yield "The same in figures: medians (quartiles)\n\n" + table(rows)


def _measured(title: str, found: Mapping[str, Any]) -> str:
    """Ratios of p50 and CPU by what was measured, then p50 and p99, and round trips if counted."""
    names = [*next(iter(found.values()))["contenders"]]
    others = [*next(iter(found.values()))["ratios"]]
    head = [*(f"p50 / {name}" for name in others), *(f"{name} p50 (p99)" for name in names)]
    rows = [["", *head]]
    for what, each in found.items():
        ratios = [_quartiles(each["ratios"][name]["p50"]) for name in others]
        rows.append([what, *ratios, *(_request(each["contenders"][name]) for name in names)])
    return f"{title}: ratios, milliseconds, round trips (rt)\n\n{table(rows)}"


def _request(found: Mapping[str, Any]) -> str:
    counted = f", {found['round_trips']:g} rt" if "round_trips" in found else ""
    return f"{found['p50_ms']['median']:.3g} ({found['p99_ms']:.3g}){counted}"


def _far_start(way: Mapping[str, Any]) -> str:
    rows = [["", *way["contenders"]]]
    ratios = [_quartiles(way["ratios"][name]["cold"]) if name in way["ratios"] else ""
              for name in way["contenders"]]  # fmt: skip
    rows.append(["ours / theirs", *ratios])
    for figure, title in (("cold_ms", "cold start, ms"), ("init_ms", "of it INIT, ms")):
        rows.append([title, *(_figure(each[figure]) for each in way["contenders"].values())])
    if all("round_trips" in each for each in way["contenders"].values()):
        counted = (f"{each['round_trips']:g}" for each in way["contenders"].values())
        rows.append(["round trips", *counted])
    return f"Cold start, {way['title']}\n\n{table(rows)}"


def _environments(found: Mapping[str, Any]) -> str:
    rows = [["environments", *found["contenders"]]]
    for count in next(iter(found["contenders"].values())):
        cells = (each[count] for each in found["contenders"].values())
        rows.append([count, *(_crowd(cell) for cell in cells)])
    title = f"Environments at once, {found['title']}, pool of {found['pool']}"
    return f"{title}: requests a second, p50 / p99 in ms\n\n{table(rows)}"


def _crowd(found: Mapping[str, Any]) -> str:
    rate = found["requests_per_second"]
    return f"{rate:.0f}/s, {found['p50_ms']:.3g} / {found['p99_ms']:.3g}"


def _summary(judged: Sequence[Mapping[str, Any]]) -> str:
    missed = [each for each in judged if not each["met"]]
    lines = [f"Targets: {len(judged) - len(missed)} of {len(judged)} met."]
    for each in missed:
        of = f" / {each['of']}" if each["of"] else ""
        lines.append(f"  missed: {each['what']}{of}: {each['found']:g}, at most {each['most']:g}")
    return "\n".join(lines)


def _judged(ratios: Mapping[str, Any], measure: str, other: str) -> str:
    said, most = _quartiles(ratios[measure]), target(other, measure)
    if most is None:
        return said
    verdict = "met" if ratios[measure]["ratio"] <= most else "MISSED"
    return f"{said} <= {most:.2f} {verdict}"


def _quartiles(found: Mapping[str, float]) -> str:
    return f"{found['ratio']:.2f} ({found['low']:.2f}-{found['high']:.2f})"


def _figure(found: Any) -> str:
    if isinstance(found, Mapping):
        return f"{found['median']:.4g} ({found['low']:.4g}-{found['high']:.4g})"
    return f"{found:.4g}"


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Write results.json, with the verdicts."""
    results = {**results, "targets": verdicts(results)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
