"""Counters of what operators ask about: plain numbers, to be logged or sent as metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Telemetry"]


@dataclass(slots=True)
class Telemetry:
    """What one Database has done since it was made.

    Times are in milliseconds. `retries` counts by class: `lost` (sent and unanswered), `unsent`,
    and for connecting `network`, `transient`, `busy`, `control_plane`, `unknown`, `password` and
    `certificate`. `cancels` counts the units of work that the server was told to stop.
    """

    units: int = 0
    round_trips: int = 0
    connects: int = 0
    connect_ms: float = 0.0
    last_connect_ms: float = 0.0
    reuses: int = 0
    stale: int = 0
    expired: int = 0
    prepared_refused: int = 0
    cancels: int = 0
    retries: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Return a copy that can be written as JSON."""
        return asdict(self) | {"retries": dict(self.retries)}
