"""Draw the results as SVG: `.venv-bench/bin/python bench/charts.py FOLDER` reads its results.json.

The files are the same for the same results: no date, a fixed salt for ids, and text as text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

# Okabe and Ito's colours, which people with colour blindness can tell apart.
_COLOURS = {
    "ours": "#0072B2",
    "fastapi-psycopg2": "#E69F00",
    "fastapi-asyncpg": "#D55E00",
    "powertools": "#009E73",
    "floor": "#9CA3AF",
}
mpl.use("svg")
mpl.rcParams |= {
    "svg.hashsalt": "bench",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
}

Results = Mapping[str, Any]


def main(folder: Path) -> None:
    """Draw a chart of each scenario that was measured."""
    results: Results = json.loads((folder / "results.json").read_text())
    drawn = {
        "headline": _cold_start,
        "endpoints": _endpoints,
        "environments": _environments,
        "lists": _lists,
    }
    for scenario, chart in drawn.items():
        if scenario in results:
            figure = chart(results[scenario], results["contenders"])
            path = folder / f"{chart.__name__.strip('_').replace('_', '-')}.svg"
            figure.savefig(path, metadata={"Date": None})


def _cold_start(found: Results, titles: Results) -> Any:
    figure, axes = plt.subplots(figsize=(9, 3.2))
    figure.suptitle("Cold start, milliseconds: INIT, then the first list of 20 tasks (pale)")
    for name, each in reversed(found["contenders"].items()):
        init, total = each["init_ms"]["median"], each["cold_ms"]["median"]
        axes.barh(titles[name], init, color=_COLOURS[name])
        axes.barh(titles[name], total - init, left=init, color=_COLOURS[name], alpha=0.5)
        axes.annotate(f" {total:.0f}", (total, titles[name]), va="center", weight="bold")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _endpoints(found: Results, titles: Results) -> Any:
    figure, panels = plt.subplots((len(found) + 1) // 2, 2, figsize=(9, 6), squeeze=False)
    figure.suptitle("A warm request, p50 in milliseconds; less is better, the scales differ")
    for axes, way in zip(panels.flat, found.values(), strict=False):
        names = [each.removesuffix("_task").removesuffix("_tasks") for each in way["operations"]]
        _bars(axes, way["title"], names, _p50(way["operations"]))
    return _legend(figure, titles, _p50(way["operations"]))


def _environments(found: Results, titles: Results) -> Any:
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6))
    figure.suptitle(f"Environments at once on {found['pool']} connections, {found['title']}")
    measures = {"requests_per_second": "requests a second", "p99_ms": "p99, ms"}
    for axes, (measure, title) in zip(panels, measures.items(), strict=True):
        for name, counts in found["contenders"].items():
            values = [each[measure] for each in counts.values()]
            axes.plot([*counts], values, marker="o", color=_COLOURS[name])
        axes.set_title(title, loc="left")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
    return _legend(figure, titles, found["contenders"])


def _lists(found: Results, titles: Results) -> Any:
    figure, panels = plt.subplots(1, len(found), figsize=(9, 3.2))
    figure.suptitle("Lists, p50 in milliseconds; less is better, the scales differ")
    for axes, (count, each) in zip(panels, found.items(), strict=True):
        _bars(axes, f"{int(count):,} tasks", [""], _p50({count: each}), labels=True)
    return _legend(figure, titles, _p50(found))


def _p50(found: Results) -> dict[str, list[float]]:
    names = [*next(iter(found.values()))["contenders"]]
    return {
        name: [each["contenders"][name]["p50_ms"]["median"] for each in found.values()]
        for name in names
    }


def _bars(
    axes: Any,
    title: str,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    labels: bool = False,
) -> None:
    """Draw groups of columns, with one column of each contender in each group."""
    width = 0.84 / len(series)
    for index, (name, values) in enumerate(series.items()):
        places = [group + width * (index - (len(series) - 1) / 2) for group in range(len(groups))]
        drawn = axes.bar(places, values, width * 0.92, color=_COLOURS[name])
        if labels:
            axes.bar_label(drawn, fmt="%.3g", fontsize=8)
    axes.set_title(title, loc="left")
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(axis="y", alpha=0.3)


def _legend(figure: Any, titles: Results, shown: Results) -> Any:
    handles = [plt.Rectangle((0, 0), 1, 1, color=_COLOURS[name]) for name in shown]
    names = [titles[name] for name in shown]
    figure.legend(handles, names, loc="outside lower center", ncols=3, columnspacing=1, fontsize=8)
    return figure


if __name__ == "__main__":
    main(Path(sys.argv[1]))
