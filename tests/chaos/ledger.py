"""What happened: every answer, every retry, every second, and all that should not have been."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """The account of one run; times are in seconds."""

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
        """How many requests were answered."""
        return self.statuses.total()


def percentile(values: list[float], percent: float) -> float:
    """The value that so many percent of them do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
