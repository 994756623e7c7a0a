"""What a check finds: one line of the table."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class State(Enum):
    """What a finding means; the value is the word in the table."""

    FINE = "fine"
    HURTS = "will hurt"
    BROKEN = "broken"
    UNCHECKED = "not checked"


FINE, HURTS, BROKEN, UNCHECKED = State


class Finding(NamedTuple):
    """A line: where, what, how it is, and a sentence that says what to do. It holds no secret."""

    area: str
    name: str
    state: State
    text: str


Findings = Iterator[Finding]


def judge(area: str, name: str, fine: str, *faults: tuple[object, State, str]) -> Finding:
    """Return the line of the first fault whose condition is true, or the line that is fine."""
    found = next(((state, text) for is_so, state, text in faults if is_so), (FINE, fine))
    return Finding(area, name, *found)
