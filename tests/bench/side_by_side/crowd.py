"""Many environments of one function at once, each with its next request as soon as it is free."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.bench.side_by_side.environment import Command, Environment, EnvironmentFailed
from tests.bench.side_by_side.measuring import Subject

# More at a time would only have each of them wait longer for a processor.
_STARTS_AT_A_TIME = 4
_WAIT_SECONDS = 30


@dataclass(slots=True)
class Crowd:
    """What a number of environments did together: seconds of each request, and of the whole."""

    requests: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def throughput(self) -> float:
        """Requests a second."""
        return len(self.requests) / self.seconds


def start(stack: ExitStack, command: Command, count: int) -> list[Environment]:
    """So many environments, all ready; the stack ends them."""
    found: list[Environment] = []
    while len(found) < count:
        few = min(_STARTS_AT_A_TIME, count - len(found))
        new = [stack.enter_context(Environment(command)) for _ in range(few)]
        for environment in new:
            environment.ready()
        found += new
    return found


def crowd(environments: Sequence[Environment], subject: Subject, seconds: float) -> Crowd:
    """Keep all of them busy for so long; each has answered twice before the clock starts."""
    for _ in range(2):
        _together(environments, subject, 0.0)
    return _together(environments, subject, seconds)


def _together(environments: Sequence[Environment], subject: Subject, seconds: float) -> Crowd:
    """Each answers at least once; whoever has answered is asked again until the time is over."""
    found = Crowd()
    waiting = select.epoll()
    for environment in environments:
        waiting.register(environment, select.EPOLLIN)
    started = time.perf_counter()
    asked = {environment.fileno(): _ask(environment, subject) for environment in environments}
    by_number = {environment.fileno(): environment for environment in environments}
    answers: list[bytes] = []
    busy = len(environments)
    with waiting:
        while busy:
            for number, _ in _some(waiting):
                environment = by_number[number]
                if asked[number]:
                    answer = environment.answer()
                    now = time.perf_counter()
                    found.requests.append(now - asked[number])
                    found.seconds = now - started
                    asked[number] = 0.0
                    answers.append(answer)
                else:
                    environment.ready()
                    if time.perf_counter() - started < seconds:
                        asked[number] = _ask(environment, subject)
                    else:
                        busy -= 1
    for answer in answers:
        subject.check(answer)
    return found


def _some(waiting: select.epoll) -> list[tuple[int, int]]:
    found = waiting.poll(_WAIT_SECONDS)
    if not found:
        raise EnvironmentFailed(f"no environment said anything for {_WAIT_SECONDS} seconds")
    return found


def _ask(environment: Environment, subject: Subject) -> float:
    environment.send(subject.ask())
    return time.perf_counter()
