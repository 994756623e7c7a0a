"""A drawing of bars, lines and words, as the text of an SVG file.

It has a background of its own, so that it reads the same on a light page and on a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

INK, FAINT, GRID, PAPER = "#1f2937", "#6b7280", "#e5e7eb", "#ffffff"
_FONT = "-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


class Drawing:
    """So many pixels wide and high; x grows to the right, y downwards."""

    def __init__(self, width: int, height: int, title: str, subtitle: str) -> None:
        self.width, self.height = width, height
        self._name = title
        self._parts: list[str] = []
        self.bar(0.5, 0.5, width - 1, height - 1, PAPER, edge=GRID, radius=8)
        self.text(20, 30, title, size=16, weight=600)
        self.text(20, 49, subtitle, size=12, colour=FAINT)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 11,
        anchor: str = "start",
        colour: str = INK,
        weight: int = 400,
    ) -> None:
        """Words whose base line is at y; `anchor` is start, middle or end."""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
            f' fill="{colour}" font-weight="{weight}">{escape(words)}</text>'
        )

    def bar(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        edge: str = "none",
        radius: float = 1,
        opacity: float = 1,
    ) -> None:
        """A rectangle."""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}"'
            f' height="{max(height, 0):.1f}" rx="{radius}" fill="{colour}" stroke="{edge}"'
            f' fill-opacity="{opacity}"/>'
        )

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1) -> None:
        """A line through the points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        )

    def dot(self, x: float, y: float, colour: str) -> None:
        """A point of a line."""
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')

    def __str__(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
            f' width="{self.width}" height="{self.height}" role="img"'
            f' aria-label="{escape(self._name)}" font-family="{_FONT}">'
        )
        return "\n".join([head, *self._parts, "</svg>", ""])


def ticks(top: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to `top` or a little more, about `count` steps."""
    raw = top / count or 1.0
    power = 10 ** math.floor(math.log10(raw))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= raw * 0.999)
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]


def number(value: float) -> str:
    """A figure in three digits, as few as say it."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
