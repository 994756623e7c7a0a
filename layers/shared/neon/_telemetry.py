"""Counters of what operators ask about: plain numbers, to be logged or sent as metrics."""

from __future__ import annotations

from collections import Counter


class Telemetry:
    """What one Database has done since it was made.

    Times are in milliseconds. `retries` counts by class: `lost` (sent and unanswered), `unsent`,
    and for connecting `network`, `transient`, `busy`, `control_plane`, `unknown`, `password` and
    `certificate`. `cancels` counts the units of work that the server was told to stop.
    """

    def __init__(self) -> None:
        self.round_trips = self.connects = self.stale = self.expired = 0
        self.last_connect_ms = 0.0
        self.prepared_refused = self.cancels = 0
        self.retries: Counter[str] = Counter()
