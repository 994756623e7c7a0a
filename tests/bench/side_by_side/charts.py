"""The results as SVG charts, one file for each question that somebody may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.side_by_side.svg import FAINT, GRID, INK, Drawing, number, ticks

# Okabe and Ito's colours, which nobody confuses.
_COLOURS = {
    "ours": "#0072B2",
    "floor": "#9CA3AF",
    "powertools": "#009E73",
    "fastapi-psycopg2": "#E69F00",
    "fastapi-asyncpg": "#D55E00",
}
_LABELS = {
    "list_tasks": "list",
    "create_task": "create",
    "get_task": "get",
    "update_task": "update",
    "delete_task": "delete",
    "toggle_task": "toggle",
}
_WIDTH = 880
_LEFT = 20

Results = Mapping[str, Any]
Series = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class _Box:
    """A part of a drawing: left, top, width, height of the plot, without its labels."""

    x: float
    y: float
    width: float
    height: float


def write(results: Results, folder: Path) -> None:
    """Draw a chart of each scenario that was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawing in drawings(results):
        (folder / f"{name}.svg").write_text(str(drawing))


def drawings(results: Results) -> Iterator[tuple[str, Drawing]]:
    """Each chart with the name of its file."""
    names: Mapping[str, str] = results["contenders"]
    if "headline" in results:
        yield "cold-start", _cold_start(results["headline"]["contenders"], names)
        yield "headline", _headline(results["headline"]["contenders"], names)
    if "endpoints" in results:
        yield "endpoints", _endpoints(results["endpoints"], names)
    if "environments" in results:
        yield "environments", _environments(results["environments"], names)
    if "lists" in results:
        yield "lists", _lists(results["lists"], names)
    if "tables" in results:
        yield "tables", _tables(results["tables"], names)


def _cold_start(found: Results, names: Mapping[str, str]) -> Drawing:
    drawing = Drawing(
        _WIDTH,
        86 + 44 * len(found),
        "Cold start, milliseconds",
        "From the process's start to its first answer, a list of 20 tasks: INIT in full colour, the"
        " first request pale. Less is better.",
    )
    top = max(each["cold_ms"]["high"] for each in found.values())
    scale = (_WIDTH - 2 * _LEFT - 70) / top
    for index, (name, each) in enumerate(found.items()):
        y = 76 + 44 * index
        init, total = each["init_ms"]["median"], each["cold_ms"]["median"]
        drawing.text(_LEFT, y + 8, names[name], size=12)
        drawing.bar(_LEFT, y + 14, init * scale, 16, _COLOURS[name])
        drawing.bar(_LEFT + init * scale, y + 14, (total - init) * scale, 16, _COLOURS[name],
                    opacity=0.5)  # fmt: skip
        low, high = (_LEFT + each["cold_ms"][part] * scale for part in ("low", "high"))
        drawing.line([(low, y + 22), (high, y + 22)], INK, 1.5)
        drawing.text(high + 6, y + 26, number(total), weight=600)
    return drawing


_PANELS = {
    "p50_ms": "warm p50, ms",
    "p99_ms": "warm p99, ms",
    "cpu_ms": "CPU a request, ms",
    "memory_mb": "peak memory, MB",
    "unpacked_mb": "package, MB",
    "zipped_mb": "package zipped, MB",
}


def _headline(found: Results, names: Mapping[str, str]) -> Drawing:
    drawing = Drawing(
        _WIDTH, 440, "A list of 20 tasks", "Postgres on the same machine. Less is better."
    )
    _legend(drawing, found, names)
    for index, (figure, title) in enumerate(_PANELS.items()):
        box = _Box(60 + index % 3 * 285, 135 + index // 3 * 160, 225, 110)
        series = {name: [_median(each[figure])] for name, each in found.items()}
        _columns(drawing, box, title, [""], series, valued=True)
    return drawing


def _endpoints(found: Results, names: Mapping[str, str]) -> Drawing:
    height = 110 + 215 * ((len(found) + 1) // 2)
    drawing = Drawing(
        _WIDTH,
        height,
        "A warm request, p50 in milliseconds",
        "Each endpoint, on each way to the database. Less is better; the scales differ.",
    )
    for index, way in enumerate(found.values()):
        box = _Box(60 + index % 2 * 425, 130 + index // 2 * 215, 370, 140)
        operations: Results = way["operations"]
        series = _series(operations, lambda each: each["p50_ms"]["median"])
        _columns(drawing, box, way["title"], [_LABELS[each] for each in operations], series)
    _legend(drawing, series, names)
    return drawing


def _environments(found: Results, names: Mapping[str, str]) -> Drawing:
    drawing = Drawing(
        _WIDTH,
        360,
        f"Many environments at once, on {found['pool']} server connections",
        f"{found['title']}. Each environment has its next request as soon as it is free.",
    )
    contenders = {name: found["contenders"][name] for name in names if name in found["contenders"]}
    _legend(drawing, contenders, names)
    counts = [*next(iter(contenders.values()))]
    panels = {"requests_per_second": "requests a second", "p99_ms": "p99, ms"}
    for index, (figure, title) in enumerate(panels.items()):
        series = {
            name: [each[count][figure] for count in counts] for name, each in contenders.items()
        }
        _lines(drawing, _Box(60 + index * 425, 130, 370, 180), title, counts, series)
    return drawing


def _lists(found: Results, names: Mapping[str, str]) -> Drawing:
    drawing = Drawing(
        _WIDTH,
        310,
        "Lists, p50 in milliseconds",
        "By their length; the scales differ. Less is better.",
    )
    for index, (count, each) in enumerate(found.items()):
        series = {name: [one["p50_ms"]["median"]] for name, one in each["contenders"].items()}
        box = _Box(60 + index * 285, 130, 225, 130)
        _columns(drawing, box, f"{int(count):,} tasks", [""], series, valued=True)
    _legend(drawing, series, names)
    return drawing


def _tables(found: Results, names: Mapping[str, str]) -> Drawing:
    drawing = Drawing(
        _WIDTH,
        320,
        "The same list among ever more tasks of others, p50 in milliseconds",
        "A list of 20 tasks, by the number of rows in the table.",
    )
    series = _series(found, lambda each: each["p50_ms"]["median"])
    _legend(drawing, series, names)
    counts = [f"{int(count):,}" for count in found]
    _lines(drawing, _Box(60, 130, _WIDTH - 100, 140), "ms", counts, series)
    return drawing


def _series(found: Results, figure: Any) -> dict[str, list[float]]:
    """By contender, a figure of each of several measurements."""
    series: dict[str, list[float]] = {}
    for each in found.values():
        for name, contender in each["contenders"].items():
            series.setdefault(name, []).append(figure(contender))
    return series


def _median(found: Any) -> float:
    return float(found["median"] if isinstance(found, Mapping) else found)


def _legend(drawing: Drawing, shown: Mapping[str, Any], names: Mapping[str, str]) -> None:
    x, y = float(_LEFT), 70.0
    for name in shown:
        width = 26 + 6.2 * len(names[name])
        if x + width > _WIDTH:
            x, y = float(_LEFT), y + 18
        drawing.bar(x, y - 9, 10, 10, _COLOURS[name])
        drawing.text(x + 15, y, names[name])
        x += width


def _columns(
    drawing: Drawing,
    box: _Box,
    title: str,
    groups: Sequence[str],
    series: Series,
    *,
    valued: bool = False,
) -> None:
    """Groups of columns, one column of each series in each; with their values on request."""
    top = _axis(drawing, box, title, max(max(values) for values in series.values()))
    step = box.width / len(groups)
    width = step * 0.82 / len(series)
    for number_of_series, (name, values) in enumerate(series.items()):
        for group, value in enumerate(values):
            x = box.x + step * (group + 0.09) + width * number_of_series
            height = box.height * value / top
            drawing.bar(x, box.y + box.height - height, width * 0.9, height, _COLOURS[name])
            if valued:
                drawing.text(x + width * 0.45, box.y + box.height - height - 4, number(value),
                             size=10, anchor="middle")  # fmt: skip
    _under(drawing, box, groups)


def _lines(drawing: Drawing, box: _Box, title: str, places: Sequence[str], series: Series) -> None:
    """A line for each series over the same places."""
    top = _axis(drawing, box, title, max(max(values) for values in series.values()))
    step = box.width / len(places)
    for name, values in series.items():
        points = [
            (box.x + step * (place + 0.5), box.y + box.height * (1 - value / top))
            for place, value in enumerate(values)
        ]
        drawing.line(points, _COLOURS[name], 2)
        for x, y in points:
            drawing.dot(x, y, _COLOURS[name])
    _under(drawing, box, places)


def _axis(drawing: Drawing, box: _Box, title: str, most: float) -> float:
    """The title, and lines at round values; the value at the upper edge."""
    drawing.text(box.x, box.y - 14, title, size=12, weight=600)
    values = ticks(most * 1.02)
    for value in values:
        y = box.y + box.height * (1 - value / values[-1])
        drawing.line([(box.x, y), (box.x + box.width, y)], GRID)
        drawing.text(box.x - 6, y + 4, number(value), size=10, anchor="end", colour=FAINT)
    return values[-1]


def _under(drawing: Drawing, box: _Box, words: Sequence[str]) -> None:
    step = box.width / len(words)
    for index, each in enumerate(words):
        x = box.x + step * (index + 0.5)
        drawing.text(x, box.y + box.height + 16, each, anchor="middle", colour=FAINT)
