"""How long a unit of work may take: the invocation's remaining time, as a whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Kept free at the end of an invocation, so that an error still becomes a response.
_MARGIN_SECONDS = 0.25
_end: ContextVar[float | None] = ContextVar("neon_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound all work inside the block, connecting and retrying included, to `seconds`.

    Pass the invocation's remaining time. A quarter of a second of it (a tenth, if that is less)
    is left to the caller. A block inside another one can only shorten it.
    """
    end = time.monotonic() + seconds - margin(seconds)
    outer = _end.get()
    token = _end.set(end if outer is None else min(end, outer))
    try:
        yield
    finally:
        _end.reset(token)


def deadline_or(seconds: float) -> float:
    """Return when the current block ends, by `time.monotonic`; without one, `seconds` from now."""
    end = _end.get()
    return time.monotonic() + seconds if end is None else end


def remaining(end: float) -> float:
    """Return the seconds until `end`, at least 0."""
    return max(0.0, end - time.monotonic())


def part_of(end: float, parts: int) -> float:
    """Return when the first of so many equal parts of the remaining time ends."""
    return time.monotonic() + remaining(end) / parts


def margin(seconds: float) -> float:
    """Return how much of so many seconds to keep free: a quarter of a second, a tenth at most."""
    return min(_MARGIN_SECONDS, seconds / 10)
