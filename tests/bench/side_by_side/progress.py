"""What is being measured, how far it is, and how many minutes are left; on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

_EVERY_SECONDS = 5.0


class Progress:
    """Scenarios are announced with their weights: roughly the seconds that each will take."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)
        self._started = time.monotonic()
        self._done = 0.0
        self._weight = 0.0
        self._steps = self._step = 0
        self._title = ""
        self._said = 0.0

    def say(self, text: str) -> None:
        """One line of its own."""
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def scenario(self, name: str) -> None:
        """Begin the next scenario; the one before it is over."""
        if not self._weight:
            self._started = time.monotonic()
        self._done += self._weight
        self._weight = self._weights.pop(name, 0.0)
        self._steps = self._step = 0
        self._title = name

    def expect(self, steps: int) -> None:
        """The scenario that has begun consists of so many steps in all."""
        self._steps = steps

    def tick(self) -> None:
        """One step is done; a line is written every few seconds."""
        self._step += 1
        now = time.monotonic()
        if now - self._said > _EVERY_SECONDS:
            self._said = now
            self.say(f"{self._title}, {self._step} of {self._steps}; {self._left(now)}")

    def _left(self, now: float) -> str:
        part = min(self._step / self._steps, 1.0) if self._steps else 0.0
        done = self._done + self._weight * part
        whole = self._done + self._weight + sum(self._weights.values())
        if not done:
            return "about to know how long it takes"
        minutes = (now - self._started) * (whole - done) / done / 60
        return "about a minute left" if minutes < 1.5 else f"about {minutes:.0f} minutes left"
