"""Medians, ratios and their spread.

A ratio compares what was measured in the same round, so that what else the machine did in it is
in both; the median over the rounds is the figure, and its quartiles are its spread.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours by theirs: the figure, and the quartiles of what it may as well have been."""

    value: float
    low: float
    high: float


def quantile(values: Sequence[float], part: float) -> float:
    """The value that `part` of them do not exceed, interpolated; 0.5 for the median."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """The median and the quartiles of the ratios of what was measured in the same round."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return Ratio(statistics.median(ratios), quantile(ratios, 0.25), quantile(ratios, 0.75))


def pooled(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], part: float
) -> Ratio:
    """The ratio of a quantile of all rounds together; its spread is that of rounds drawn again.

    A tail is too thin for a ratio in each round. Rounds are drawn with replacement (bootstrap),
    the same ones for both, from a fixed seed.
    """
    draw = random.Random(1)  # noqa: S311 - nothing secret
    rounds = range(len(ours))
    found = []
    for _ in range(_RESAMPLES):
        chosen = draw.choices(rounds, k=len(rounds))
        found.append(_together(ours, chosen, part) / _together(theirs, chosen, part))
    value = _together(ours, rounds, part) / _together(theirs, rounds, part)
    return Ratio(value, quantile(found, 0.25), quantile(found, 0.75))


def _together(blocks: Sequence[Sequence[float]], chosen: Sequence[int], part: float) -> float:
    return quantile([value for index in chosen for value in blocks[index]], part)
