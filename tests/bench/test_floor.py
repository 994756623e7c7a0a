"""Ours beside the other stacks: the targets that a busy machine can judge.

The targets are those of `bench/report.py`. Other work on the machine only ever adds, so the least
CPU time of each is compared, of cold starts and of warm requests. Times by the clock need a quiet
machine: `make bench` judges p50 and p99.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from bench.contenders import OURS, Contender
from bench.databases import Databases
from bench.measuring import Effort, Samples, cold, warm
from bench.report import TARGETS
from bench.scenarios import NORMAL, Bench

pytestmark = pytest.mark.campaign

# A busy machine scatters by more than some targets have to spare, so one of three has to meet it.
MEASUREMENTS = 3
# Beside work on the other core, which shares the memory and the last cache, a process that touches
# more of both loses more. One version took 1.53 of the floor's cold start alone and 1.58 to 1.65
# beside other tests (AMD EPYC, 2026-11-28). `make bench` judges the targets themselves.
LOADED = 1.12
EFFORT = Effort(starts=8, lives=3, rounds=8, warm_up=100)
JUDGED = {"cold": "cold_cpu", "cpu": "cpu", "memory": "memory"}

Measure = Callable[[str, int], dict[str, Samples]]


@pytest.fixture(scope="module")
def measure(built: dict[str, Contender], started: Databases) -> Measure:
    """The n-th measurement of a kind for all contenders, made when it is first asked for.

    Each is asked for the same list of twenty tasks.
    """
    bench = Bench([*built.values()], started, {}, NORMAL)
    subjects = bench.subjects(started.local)

    @cache
    def measured(is_cold: bool, _number: int) -> dict[str, Samples]:
        return cold(subjects, EFFORT) if is_cold else warm(subjects, EFFORT)

    return lambda target, number: measured(target == "cold", number)


@pytest.mark.parametrize(
    ("other", "target"),
    [(other, target) for other in TARGETS for target in JUDGED if target in TARGETS[other]],
)
def test_ours_takes_at_most_its_share(other: str, target: str, measure: Measure) -> None:
    ratios = []
    for number in range(MEASUREMENTS):
        found = measure(target, number)
        least = {name: min(found[name][JUDGED[target]]) for name in (OURS, other)}
        ratios.append(least[OURS] / least[other])
        if ratios[-1] <= TARGETS[other][target] * LOADED:
            return
    pytest.fail(f"{target} beside {other}: {ratios}, at most {TARGETS[other][target]} x {LOADED}")
