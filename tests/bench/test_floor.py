"""Ours beside the other stacks: what `make bench` promises, as far as a busy machine can judge it.

The targets are those of `bench/report.py`. Whatever else the machine does only ever adds, so the
least of each is compared, and a cold start by its processor time. A p99 needs more requests and a
quiet machine: `make bench` judges that.
"""

from __future__ import annotations

import pytest

from bench.contenders import OURS, Contender
from bench.databases import Databases
from bench.measuring import Cold, Effort, Subject, Warm, cold, warm
from bench.report import TARGETS
from bench.scenarios import NORMAL, Bench

OTHERS = sorted(TARGETS)


@pytest.fixture(scope="module")
def subjects(built: dict[str, Contender], started: Databases) -> dict[str, Subject]:
    """Each contender, to be asked for the same list of twenty tasks."""
    bench = Bench([*built.values()], started, {}, NORMAL, lambda: None)
    return bench.listings(started.local)


@pytest.fixture(scope="module")
def starts(subjects: dict[str, Subject]) -> dict[str, Cold]:
    return cold(subjects, 8)


@pytest.fixture(scope="module")
def requests(subjects: dict[str, Subject]) -> dict[str, Warm]:
    return warm(subjects, Effort(lives=3, rounds=8))


@pytest.mark.parametrize("other", OTHERS)
def test_a_cold_start_takes_at_most_its_share(other: str, starts: dict[str, Cold]) -> None:
    assert min(starts[OURS].cpu) / min(starts[other].cpu) <= TARGETS[other]["cold"]


@pytest.mark.parametrize("other", OTHERS)
def test_a_request_takes_at_most_its_share_of_time(other: str, requests: dict[str, Warm]) -> None:
    ours, theirs = min(requests[OURS].medians()), min(requests[other].medians())
    assert ours / theirs <= TARGETS[other]["p50"]


@pytest.mark.parametrize("other", OTHERS)
def test_a_request_takes_at_most_its_share_of_cpu(other: str, requests: dict[str, Warm]) -> None:
    assert min(requests[OURS].cpu) / min(requests[other].cpu) <= TARGETS[other]["cpu"]


@pytest.mark.parametrize("other", [each for each in OTHERS if "memory" in TARGETS[each]])
def test_a_process_takes_at_most_its_share_of_memory(
    other: str, requests: dict[str, Warm]
) -> None:  # fmt: skip
    assert min(requests[OURS].memory) / min(requests[other].memory) <= TARGETS[other]["memory"]
