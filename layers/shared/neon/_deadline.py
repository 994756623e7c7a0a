"""How long a unit of work may take: the invocation's remaining time, as a whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["deadline", "deadline_or", "part_of", "statement_timeout"]

# Kept free at the end of an invocation, so that an error still becomes an answer.
_MARGIN_SECONDS = 0.25
_end: ContextVar[float | None] = ContextVar("neon_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound all work inside the block, connecting and retrying included, to `seconds`.

    Pass the invocation's remaining time. A quarter of a second of it (a tenth, where that is
    less) is left to the caller. A block inside another one can only shorten it.
    """
    end = time.monotonic() + seconds - _margin(seconds)
    outer = _end.get()
    token = _end.set(end if outer is None else min(end, outer))
    try:
        yield
    finally:
        _end.reset(token)


def deadline_or(seconds: float) -> float:
    """When the current block ends, by `time.monotonic`; without one, `seconds` from now."""
    end = _end.get()
    return time.monotonic() + seconds if end is None else end


def statement_timeout(end: float) -> str:
    """Milliseconds that the server may take, so that its own error comes before we give up."""
    remaining = end - time.monotonic()
    return str(max(1, int((remaining - _margin(remaining)) * 1000)))


def part_of(end: float, parts: int) -> float:
    """When the first of so many equal parts of the remaining time ends."""
    now = time.monotonic()
    return now + (end - now) / parts


def _margin(seconds: float) -> float:
    return min(_MARGIN_SECONDS, seconds / 10)
