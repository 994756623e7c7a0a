"""The results as tables, ratios and targets first, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.contenders import FLOOR, OURS
from bench.contract import BenchError
from bench.figures import Spread

Results = Mapping[str, Any]
MEASURES = {
    "cold": "cold start",
    "init": "INIT alone",
    "cold_cpu": "cold start, CPU",
    "p50": "warm p50",
    "p99": "warm p99",
    "cpu": "CPU a request",
    "memory": "peak memory",
}
_FASTAPI = {"cold": 0.45, "p50": 0.35, "p99": 0.5, "cpu": 0.4, "memory": 0.7}
# What ours divided by theirs may be at most.
TARGETS: Mapping[str, Mapping[str, float]] = {
    "fastapi-psycopg2": _FASTAPI,
    "fastapi-asyncpg": _FASTAPI,
    "powertools": dict.fromkeys(("cold", "p50", "p99", "cpu", "memory"), 0.95),
    FLOOR: {"cold": 1.55, "p50": 1.3, "cpu": 1.4},
}
_FIGURES = {
    "cold_ms": "cold start, ms",
    "init_ms": "INIT alone, ms",
    "cold_cpu_ms": "cold start, CPU ms",
    "p50_ms": "warm p50, ms",
    "p99_ms": "warm p99, ms",
    "cpu_ms": "CPU a request, ms",
    "memory_mb": "peak memory, MB",
    "unpacked_mb": "package, MB",
    "zipped_mb": "zipped, MB",
}
_FAR = "pooler-20ms"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned for a terminal."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    padded = [[f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in padded]
    return "\n".join([lines[0], f"|{'|'.join('-' * (each + 2) for each in widths)}|", *lines[1:]])


def verdicts(results: Results) -> list[dict[str, Any]]:
    """Return each target that this run can judge: what, beside whom, found, at most, and met."""
    return [
        {"what": what, "of": other, "found": found, "most": most, "met": found <= most}
        for what, other, found, most in _judgements(results)
    ]


def _judgements(results: Results) -> Iterator[tuple[str, str, float, float]]:
    for other, ratios in results.get("headline", {}).get("ratios", {}).items():
        for measure, most in TARGETS[other].items():
            yield MEASURES[measure], other, ratios[measure]["ratio"], most
    ways = results.get("endpoints", {})
    for name, way in ways.items():
        for operation, each in way["operations"].items():
            ours = each["contenders"].get(OURS)
            if ours and "round_trips" in ours:
                yield f"round trips, {operation}, {name}", "", ours["round_trips"], 1.0
            if ours and name == _FAR:
                local = ways["local"]["operations"][operation]["contenders"][OURS]
                most = round(1.1 * way["latency_ms"] + local["p50_ms"]["median"], 3)
                yield f"p50 in ms, {operation}, {name}", "", ours["p50_ms"]["median"], most


def text(results: Results) -> str:
    """Return everything that was measured, for a terminal."""
    return "\n\n".join(parts(results).values()) + "\n"


def parts(results: Results) -> dict[str, str]:
    """Return what was measured, by the names of the markers in docs/performance.md."""
    found = {"conditions": _conditions(results["machine"], results["load_before"])}
    if "headline" in results:
        found["ratios"] = ratios_table(results)
        found["figures"] = figures_table(results)
    if "endpoints" in results:
        ways = results["endpoints"].values()
        found["endpoints"] = "\n\n".join(_requests(way["title"], way["operations"]) for way in ways)
    if "cold-far" in results:
        found["cold-far"] = "\n\n".join(_starts(way) for way in results["cold-far"].values())
    if "environments" in results:
        found["environments"] = _crowds(results["environments"])
    if "lists" in results:
        found["lists"] = _requests("Lists by their length", results["lists"])
    if judged := verdicts(results):
        found["targets"] = f"```\n{_summary(judged)}\n```"
    return found


def _conditions(machine: Results, load: float) -> str:
    return (
        f"Measured on {machine['cores']} cores ({machine['processor']}), load {load} before it;"
        f" Python {machine['python']},\nawslambdaric {machine['awslambdaric']}, Postgres"
        f" {machine['postgres']}, PgBouncer {machine['pgbouncer']}."
    )


def ratios_table(results: Results) -> str:
    """Return ours divided by each of the others, with the targets."""
    ratios = results["headline"]["ratios"]
    rows = [["ours / theirs", *ratios]]
    for measure, title in MEASURES.items():
        rows.append([title, *(_judged(each[measure], measure, of) for of, each in ratios.items())])
    return table(rows)


def figures_table(results: Results) -> str:
    """Return the figures of each contender."""
    contenders = results["headline"]["contenders"]
    rows = [["", *contenders]]
    for figure, title in _FIGURES.items():
        rows.append([title, *(_figure(each[figure]) for each in contenders.values())])
    return table(rows)


def _judged(found: Spread, measure: str, other: str) -> str:
    most = TARGETS[other].get(measure)
    if most is None:
        return _ratio(found)
    verdict = "met" if found["ratio"] <= most else "MISSED"
    return f"{_ratio(found)} <= {most:.2f} {verdict}"


def _requests(title: str, found: Results) -> str:
    """Return ratios of p50, then p50 and p99, with the round trips where they were counted."""
    first = next(iter(found.values()))
    rows = [["", *(f"p50 / {name}" for name in first["ratios"]), *first["contenders"]]]
    for what, each in found.items():
        ratios = [_ratio(ratio["p50"]) for ratio in each["ratios"].values()]
        rows.append([what, *ratios, *(_request(one) for one in each["contenders"].values())])
    return f"{title}: ratios, then p50 (p99) in ms and round trips (rt)\n\n{table(rows)}"


def _request(found: Results) -> str:
    counted = f", {found['round_trips']:g} rt" if "round_trips" in found else ""
    return f"{found['p50_ms']['median']:.3g} ({found['p99_ms']:.3g}){counted}"


def _starts(way: Results) -> str:
    rows = [["", "ours / theirs", "cold start, ms", "INIT alone, ms", "round trips"]]
    for name, each in way["contenders"].items():
        ratio = _ratio(way["ratios"][name]["cold"]) if name in way["ratios"] else ""
        figures = (_figure(each[figure]) for figure in ("cold_ms", "init_ms"))
        rows.append([name, ratio, *figures, f"{each.get('round_trips', '')}"])
    return f"A cold start, {way['title']}:\n\n{table(rows)}"


def _crowds(found: Results) -> str:
    rows = [["environments", *found["contenders"]]]
    for count in next(iter(found["contenders"].values())):
        cells = (each[count] for each in found["contenders"].values())
        rows.append([count, *(_crowd(cell) for cell in cells)])
    title = f"Environments at once, {found['title']}, pool of {found['pool']}"
    return f"{title}: requests a second, p50 / p99 in ms\n\n{table(rows)}"


def _crowd(found: Results) -> str:
    rate = found["requests_per_second"]
    return f"{rate:.0f}/s, {found['p50_ms']:.3g} / {found['p99_ms']:.3g}"


def _summary(judged: Sequence[Results]) -> str:
    missed = [each for each in judged if not each["met"]]
    lines = [f"Targets: {len(judged) - len(missed)} of {len(judged)} met."]
    for each in missed:
        of = f" / {each['of']}" if each["of"] else ""
        lines.append(f"  missed: {each['what']}{of}: {each['found']:g}, at most {each['most']:g}")
    return "\n".join(lines)


def _ratio(found: Spread) -> str:
    return f"{found['ratio']:.2f} ({found['low']:.2f}-{found['high']:.2f})"


def _figure(found: Any) -> str:
    if isinstance(found, Mapping):
        return f"{found['median']:.4g} ({found['low']:.4g}-{found['high']:.4g})"
    return f"{found:.4g}"


def write(results: Results, folder: Path) -> None:
    """Write results.json, with the verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {**results, "targets": verdicts(results)}
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n")


def update(page: Path, parts: Mapping[str, str]) -> None:
    """Replace what stands between `<!-- bench:NAME -->` and `<!-- /bench -->`.

    Raise BenchError when the page lacks a marker.
    """
    text = page.read_text()
    for name, made in parts.items():
        before, opening, rest = text.partition(f"<!-- bench:{name} -->\n")
        _, closing, after = rest.partition("<!-- /bench -->")
        if not closing:
            raise BenchError(f"{page.name} has no part marked as bench:{name}.")
        text = f"{before}{opening}\n{made}\n\n{closing}{after}"
    page.write_text(text)
