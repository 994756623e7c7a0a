"""Cold starts and warm requests: what is measured, and in which turns.

Contenders take turns in an order that is shuffled anew in each round, so that whatever else the
machine does hits all of them alike.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.bench.side_by_side.environment import Command, Environment

Ask = Callable[[], bytes]
"""Gives the event of the next request."""
Check = Callable[[bytes], None]
"""Raises when an answer is not the one that was asked for."""
Count = Callable[[], int]
"""Tells how many round trips to the database there were so far."""
Tick = Callable[[], None]
"""Told after each step, for whoever shows how far it is."""

_BLOCK = 25


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured of one contender: its process, what it is asked, what it should answer.

    `prepare` is told how many requests are coming, in front of each block of them.
    """

    command: Command
    ask: Ask
    check: Check
    prepare: Callable[[int], None] = lambda _: None


@dataclass(slots=True)
class Cold:
    """One value a start: seconds from the process's start to its first poll and to its first
    answer, and of processor time and round trips until then."""

    init: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    round_trips: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Warm:
    """Seconds of each request, in blocks, one a round; processor seconds and round trips a
    request in each block; peak memory in bytes of each process."""

    blocks: list[list[float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    round_trips: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def medians(self) -> list[float]:
        """The median of each block."""
        return [statistics.median(block) for block in self.blocks]

    def all(self) -> list[float]:
        """Every request."""
        return [seconds for block in self.blocks for seconds in block]


def cold(
    subjects: Mapping[str, Subject], rounds: int, tick: Tick, count: Count | None = None
) -> dict[str, Cold]:
    """Start each process anew `rounds` times, and once before to have its files in memory."""
    found = {name: Cold() for name in subjects}
    for number in range(rounds + 1):
        for name in _shuffled(subjects):
            before = count() if count else 0
            into = found[name] if number else Cold()
            _start(subjects[name], into)
            if count:
                into.round_trips.append(count() - before)
        tick()
    return found


def _start(subject: Subject, into: Cold) -> None:
    subject.prepare(1)
    event = subject.ask()
    with Environment(subject.command) as environment:
        environment.ready()
        initialised = environment.now() - environment.started
        environment.send(event)
        answer = environment.answer()
        total = environment.now() - environment.started
        environment.ready()
        into.cpu.append(environment.cpu())
    subject.check(answer)
    into.init.append(initialised)
    into.total.append(total)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: processes of each contender one after the other, blocks in each, and
    unmeasured requests before them."""

    lives: int = 4
    rounds: int = 12
    warm_up: int = 100


def warm(
    subjects: Mapping[str, Subject], effort: Effort, tick: Tick, count: Count | None = None
) -> dict[str, Warm]:
    """Blocks of requests in turns, to processes that live at the same time.

    One process is luckier than another with where its memory lies, so there are several.
    """
    found = {name: Warm() for name in subjects}
    for _ in range(effort.lives):
        with ExitStack() as stack:
            alive = _begin(stack, subjects, effort.warm_up)
            for _ in range(effort.rounds):
                for name in _shuffled(subjects):
                    before = count() if count else 0
                    _block(alive[name], subjects[name], found[name])
                    if count:
                        found[name].round_trips.append((count() - before) / _BLOCK)
                tick()
            for name, environment in alive.items():
                found[name].memory.append(environment.peak_memory())
    return found


def _begin(
    stack: ExitStack, subjects: Mapping[str, Subject], warm_up: int
) -> dict[str, Environment]:
    alive = {}
    for name, subject in subjects.items():
        environment = alive[name] = stack.enter_context(Environment(subject.command))
        environment.ready()
        subject.prepare(warm_up)
        for _ in range(warm_up):
            subject.check(environment.invoke(subject.ask())[1])
    return alive


def _block(environment: Environment, subject: Subject, into: Warm) -> None:
    subject.prepare(_BLOCK)
    events = [subject.ask() for _ in range(_BLOCK)]
    before = environment.cpu()
    done = [environment.invoke(event) for event in events]
    into.cpu.append((environment.cpu() - before) / _BLOCK)
    into.blocks.append([seconds for seconds, _ in done])
    for _, answer in done:
        subject.check(answer)


def _shuffled(subjects: Mapping[str, Subject]) -> Sequence[str]:
    names = [*subjects]
    random.shuffle(names)
    return names
