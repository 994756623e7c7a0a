"""Draw the results as SVG: `.venv-bench/bin/python bench/charts.py RESULTS.json FOLDER`.

The files are the same for the same results: no date, a fixed salt for ids, and text as text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

# Okabe and Ito's colours, which people with colour blindness can tell apart.
_COLOURS = {
    "ours": "#0072B2",
    "fastapi-psycopg2": "#E69F00",
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
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
}

Results = Mapping[str, Any]


def main(results: Path, folder: Path) -> None:
    """Draw the two charts."""
    found: Results = json.loads(results.read_text())
    titles = found["contenders"]
    for name, figure in {
        "cold-start": _cold_start(found["headline"], titles),
        "endpoints": _endpoints(found["endpoints"], titles),
    }.items():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _cold_start(found: Results, titles: Results) -> Any:
    figure, axes = plt.subplots(figsize=(9, 3.2))
    figure.suptitle("Cold start, milliseconds: INIT, then the first list of 20 tasks (pale)")
    for name, each in reversed(found["contenders"].items()):
        init, total = each["init"]["median"], each["cold"]["median"]
        axes.barh(titles[name], init, color=_COLOURS[name])
        axes.barh(titles[name], total - init, left=init, color=_COLOURS[name], alpha=0.5)
        axes.annotate(f" {total:.0f}", (total, titles[name]), va="center", weight="bold")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _endpoints(found: Results, titles: Results) -> Any:
    figure, panels = plt.subplots(1, len(found), figsize=(9, 3.5), squeeze=False)
    figure.suptitle("A warm request, p50 in milliseconds; less is better, the scales differ")
    for axes, way in zip(panels.flat, found.values(), strict=True):
        _bars(axes, way["operations"], titles)
        axes.set_title(way["title"], loc="left")
        axes.grid(axis="y", alpha=0.3)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, columnspacing=1, fontsize=8)
    return figure


def _bars(axes: Any, operations: Results, titles: Results) -> None:
    """Draw a group of columns for each operation, with one column of each contender."""
    width = 0.84 / len(titles)
    for index, (name, title) in enumerate(titles.items()):
        values = [each["contenders"][name]["p50"]["median"] for each in operations.values()]
        places = [group + width * (index - (len(titles) - 1) / 2) for group in range(len(values))]
        axes.bar(places, values, width * 0.92, color=_COLOURS[name], label=title)
    axes.set_xticks(range(len(operations)), [each.partition("_")[0] for each in operations])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
