"""Cold starts, warm requests, and many environments at once.

Contenders take turns in an order that is shuffled anew in each round, so that whatever else the
machine does hits all of them alike.
"""

from __future__ import annotations

import random
import select
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.contract import BenchError
from bench.environment import Command, Environment

Count = Callable[[], int]
"""Returns how many round trips to the database there were so far."""
Tick = Callable[[], None]
"""Is called after each step, to show the progress."""

_BLOCK = 25
_WAIT_SECONDS = 30
# More at a time would only make each of them wait longer for a processor.
_STARTS_AT_A_TIME = 4


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured of one contender.

    `ask` returns the next event, `check` raises when a response is not the right one, and `prepare`
    is told how many requests are coming before each block of them.
    """

    command: Command
    ask: Callable[[], bytes]
    check: Callable[[bytes], None]
    prepare: Callable[[int], object] = lambda _: None


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: the processes of each contender one after the other, the blocks of
    requests in each, and the unmeasured requests before them."""

    lives: int = 4
    rounds: int = 12
    warm_up: int = 100


@dataclass(slots=True)
class Cold:
    """Of each start: the seconds to its first poll and to its first response, the seconds of
    processor time, and the round trips."""

    init: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    round_trips: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Warm:
    """The seconds of each request, in blocks, one a round; processor seconds and round trips a
    request in each block; the peak memory of each process in bytes."""

    blocks: list[list[float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    round_trips: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def medians(self) -> list[float]:
        """Return the median of each block."""
        return [statistics.median(block) for block in self.blocks]

    def all(self) -> list[float]:
        """Return the seconds of every request."""
        return [seconds for block in self.blocks for seconds in block]


def cold(
    subjects: Mapping[str, Subject], rounds: int, tick: Tick = lambda: None, count: Count = int
) -> dict[str, Cold]:
    """Start each process `rounds` times, and once before to have its files in memory."""
    found = {name: Cold() for name in subjects}
    for number in range(rounds + 1):
        for name in _shuffled(subjects):
            into, before = found[name] if number else Cold(), count()
            _start(subjects[name], into)
            into.round_trips.append(count() - before)
        tick()
    return found


def _start(subject: Subject, into: Cold) -> None:
    subject.prepare(1)
    event = subject.ask()
    with Environment(subject.command) as environment:
        environment.ready()
        into.init.append(time.perf_counter() - environment.started)
        environment.send(event)
        answer = environment.answer()
        into.total.append(time.perf_counter() - environment.started)
        environment.ready()
        into.cpu.append(environment.cpu())
    subject.check(answer)


def warm(
    subjects: Mapping[str, Subject], effort: Effort, tick: Tick = lambda: None, count: Count = int
) -> dict[str, Warm]:
    """Send blocks of requests in turns, to processes that live at the same time.

    There are several lives because one process is luckier than another with its memory's places.
    """
    found = {name: Warm() for name in subjects}
    for _ in range(effort.lives):
        with ExitStack() as stack:
            alive = {name: stack.enter_context(_warmed(subjects[name], effort.warm_up))
                     for name in subjects}  # fmt: skip
            for _ in range(effort.rounds):
                for name in _shuffled(subjects):
                    before = count()
                    _block(alive[name], subjects[name], found[name])
                    found[name].round_trips.append((count() - before) / _BLOCK)
                tick()
            for name, environment in alive.items():
                found[name].memory.append(environment.peak_memory())
    return found


def _warmed(subject: Subject, warm_up: int) -> Environment:
    environment = Environment(subject.command)
    try:
        environment.ready()
        subject.prepare(warm_up)
        for _ in range(warm_up):
            subject.check(environment.invoke(subject.ask())[1])
    except BaseException:
        environment.__exit__()
        raise
    return environment


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
    return random.sample([*subjects], len(subjects))


# --- many environments at once ---


def start_crowd(stack: ExitStack, command: Command, count: int) -> list[Environment]:
    """Start so many environments and wait until all are ready; the stack ends them."""
    found: list[Environment] = []
    while len(found) < count:
        few = min(_STARTS_AT_A_TIME, count - len(found))
        new = [stack.enter_context(Environment(command)) for _ in range(few)]
        for environment in new:
            environment.ready()
        found += new
    return found


def crowd(
    environments: Sequence[Environment], subject: Subject, seconds: float
) -> tuple[list[float], float]:
    """Keep all of them busy for so long; return the seconds of each request, and of the whole.

    Each has answered twice before the clock starts.
    """
    for _ in range(2):
        _together(environments, subject, 0.0)
    return _together(environments, subject, seconds)


def _together(
    environments: Sequence[Environment], subject: Subject, seconds: float
) -> tuple[list[float], float]:
    """Ask each at least once, and again whenever it is free until the time is over."""
    taken: list[float] = []
    answers: list[bytes] = []
    by_number = {each.fileno(): each for each in environments}
    started = time.perf_counter()
    asked = {number: _ask(each, subject) for number, each in by_number.items()}
    busy, whole = len(environments), 0.0
    with select.epoll() as waiting:
        for number in by_number:
            waiting.register(number, select.EPOLLIN)
        while busy:
            heard = waiting.poll(_WAIT_SECONDS)
            if not heard:
                raise BenchError(f"no environment said anything for {_WAIT_SECONDS} seconds")
            for number, _ in heard:
                environment = by_number[number]
                if asked[number]:
                    answers.append(environment.answer())
                    now = time.perf_counter()
                    taken.append(now - asked[number])
                    whole, asked[number] = now - started, 0.0
                    continue
                environment.ready()
                if time.perf_counter() - started < seconds:
                    asked[number] = _ask(environment, subject)
                else:
                    busy -= 1
    for answer in answers:
        subject.check(answer)
    return taken, whole


def _ask(environment: Environment, subject: Subject) -> float:
    event, started = subject.ask(), time.perf_counter()
    environment.send(event)
    return started
