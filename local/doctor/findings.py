"""What a check finds: one line of the table."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from local.terminal import DIM, GREEN, RED, YELLOW


class State(Enum):
    """What a finding means; the value is the word in the table."""

    FINE = "fine"
    HURTS = "will hurt"
    BROKEN = "broken"
    UNCHECKED = "not checked"


COLOURS = {
    State.FINE: GREEN,
    State.HURTS: YELLOW,
    State.BROKEN: RED,
    State.UNCHECKED: DIM,
}


class Finding(NamedTuple):
    """A line: where, what, how it is, and a sentence that says what to do. It holds no secret."""

    area: str
    name: str
    state: State
    text: str


Findings = Iterator[Finding]
