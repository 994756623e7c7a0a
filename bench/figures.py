"""Medians, ratios and their spread.

A ratio compares what was measured in the same round, so that whatever else the machine did is in
both. The figure is the median over the rounds, and its quartiles are its spread.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

Spread = dict[str, float]
_RESAMPLES = 200


def quantile(values: Sequence[float], part: float) -> float:
    """Return the interpolated value that `part` of them do not exceed; 0.5 is the median."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def milliseconds(seconds: Sequence[float]) -> Spread:
    """Return the median and the quartiles, in milliseconds."""
    names = {"median": 0.5, "low": 0.25, "high": 0.75}
    return {name: round(quantile(seconds, part) * 1000, 3) for name, part in names.items()}


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the median and the quartiles of the ratios of each round."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return _ratio(statistics.median(ratios), ratios)


def pooled(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], part: float
) -> Spread:
    """Return the ratio of a quantile of all rounds together, for tails that one round cannot show.

    Its spread is that of rounds drawn again with replacement (bootstrap), the same ones for both,
    from a fixed seed.
    """
    draw = random.Random(1)  # noqa: S311 - nothing secret
    rounds = range(len(ours))

    def ratio(chosen: Sequence[int]) -> float:
        return _together(ours, chosen, part) / _together(theirs, chosen, part)

    drawn = [ratio(draw.choices(rounds, k=len(rounds))) for _ in range(_RESAMPLES)]
    return _ratio(ratio(rounds), drawn)


def _ratio(value: float, spread: Sequence[float]) -> Spread:
    low, high = quantile(spread, 0.25), quantile(spread, 0.75)
    return {"ratio": round(value, 3), "low": round(low, 3), "high": round(high, 3)}


def _together(blocks: Sequence[Sequence[float]], chosen: Sequence[int], part: float) -> float:
    return quantile([value for index in chosen for value in blocks[index]], part)
