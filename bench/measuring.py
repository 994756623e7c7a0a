"""Cold starts and warm requests, and the ratios between contenders.

Contenders take turns in an order that is shuffled anew in each round, so that whatever else the
machine does hits all of them alike. For the same reason a ratio compares what was measured in the
same round: the figure is the median over the rounds, and the quartiles are its spread.
"""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from bench.environment import Command, Environment

Count = Callable[[], int]
"""Returns how many round trips to the database there were so far."""
Samples = defaultdict[str, list[float]]
"""What was measured of one contender, by measure: milliseconds, megabytes or round trips."""
Spread = dict[str, float]

_BLOCK = 25


class Subject(NamedTuple):
    """What is measured of one contender.

    `events` makes so many of the next events, and `check` raises when a response is not right.
    """

    command: Command
    events: Callable[[int], Sequence[bytes]]
    check: Callable[[bytes], None]


class Effort(NamedTuple):
    """How much is measured: the cold starts; for warm requests the processes of each contender one
    after the other, the blocks of requests in each, and the unmeasured requests before them."""

    starts: int
    lives: int
    rounds: int
    warm_up: int


def cold(subjects: Mapping[str, Subject], effort: Effort, count: Count = int) -> dict[str, Samples]:
    """Start each process so many times, and once before to have its files in memory.

    The measures are `init`, `cold` (until the first response), `cold_cpu` and `cold_trips`.
    """
    found = {name: Samples(list) for name in subjects}
    for number in range(effort.starts + 1):
        for name in _shuffled(subjects):
            before = count()
            measured = _start(subjects[name])
            measured["cold_trips"] = count() - before
            for measure, value in measured.items() if number else ():
                found[name][measure].append(value)
    return found


def _start(subject: Subject) -> dict[str, float]:
    (event,) = subject.events(1)
    with Environment(subject.command) as environment:
        seconds, answer = environment.invoke(event)
        init, cpu = environment.init, environment.cpu()
    subject.check(answer)
    return {"init": init * 1000, "cold": (init + seconds) * 1000, "cold_cpu": cpu * 1000}


def warm(subjects: Mapping[str, Subject], effort: Effort, count: Count = int) -> dict[str, Samples]:
    """Send blocks of requests in turns, to processes that live at the same time.

    The measures are `p50`, `cpu` and `trips` of each block, `requests` with each one's time, and
    `memory` of each process at its peak. There are several lives because one process is luckier
    than another with its memory's places.
    """
    found = {name: Samples(list) for name in subjects}
    for _ in range(effort.lives):
        with ExitStack() as stack:
            alive = {name: stack.enter_context(Environment(each.command))
                     for name, each in subjects.items()}  # fmt: skip
            for name, environment in alive.items():
                _ask(environment, subjects[name], effort.warm_up)
            for _ in range(effort.rounds):
                for name in _shuffled(subjects):
                    _block(alive[name], subjects[name], found[name], count)
            for name, environment in alive.items():
                found[name]["memory"].append(environment.peak_memory() / 1e6)
    return found


def _block(environment: Environment, subject: Subject, into: Samples, count: Count) -> None:
    trips, cpu = count(), environment.cpu()
    taken = _ask(environment, subject, _BLOCK)
    into["cpu"].append((environment.cpu() - cpu) * 1000 / _BLOCK)
    into["trips"].append((count() - trips) / _BLOCK)
    into["p50"].append(statistics.median(taken))
    into["requests"] += taken


def _ask(environment: Environment, subject: Subject, times: int) -> list[float]:
    """Return the milliseconds of each of so many requests."""
    done = [environment.invoke(event) for event in subject.events(times)]
    for _, answer in done:
        subject.check(answer)
    return [seconds * 1000 for seconds, _ in done]


def _shuffled(subjects: Mapping[str, Subject]) -> Sequence[str]:
    return random.sample([*subjects], len(subjects))


# --- figures and ratios ---


def quantile(values: Sequence[float], part: float) -> float:
    """Return the interpolated value that `part` of them do not exceed; 0.5 is the median."""
    ordered = sorted(values)
    below, rest = divmod(part * (len(ordered) - 1), 1)
    following = ordered[int(below) :][:2]
    return following[0] + (following[-1] - following[0]) * rest


def figures(samples: Samples) -> dict[str, Spread]:
    """Return each measure's median and quartiles; p99 is of all requests, and has no quartiles."""
    found = {measure: _spread(values) for measure, values in samples.items()}
    if requests := found.pop("requests", None):
        found["p50"] = requests
        found["p99"] = {"median": round(quantile(samples["requests"], 0.99), 3)}
    return found


def ratios(ours: Samples, theirs: Samples) -> dict[str, Spread]:
    """Return ours divided by theirs for each measure, paired by round; p99 is of all requests."""
    found = {}
    for measure, values in ours.items():
        if measure == "requests":
            tails = [quantile(each["requests"], 0.99) for each in (ours, theirs)]
            found["p99"] = {"median": round(tails[0] / tails[1], 3)}
        elif not measure.endswith("trips"):
            pairs = zip(values, theirs[measure], strict=True)
            found[measure] = _spread([one / other for one, other in pairs])
    return found


def _spread(values: Sequence[float]) -> Spread:
    places = {"low": 0.25, "median": 0.5, "high": 0.75}
    return {name: round(quantile(values, place), 3) for name, place in places.items()}
