"""The record of a run: responses, retries, times, and every surprise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """The record of one run; times are in seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    replays: int = 0
    answered_in: list[float] = field(default_factory=list)
    done_in: list[float] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Return how many requests were answered."""
        return self.statuses.total()


def percentile(values: list[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed; 0 for no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
