"""The API beside a bare handler that does the same work: no more than the targets allow.

`make bench` measures everything and the clock as well; this holds, on every change, what other
work on the machine disturbs least: processor time, memory and round trips.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench.peers import build
from tests.bench.side_by_side import measuring
from tests.bench.side_by_side.backends import local_postgres
from tests.bench.side_by_side.measuring import Effort, Subject
from tests.bench.side_by_side.processes import CONTENDERS, Requests, Runtime, check
from tests.running import ROOT

USER, LIST = "alice", 20
_COLD, _CPU, _MEMORY = 1.45, 1.25, 1.4


Pair = dict[str, Subject]


@pytest.fixture(scope="module")
def pair(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Ours and the floor, each to be asked for the same list, on a Postgres of their own."""
    contenders = build(ROOT, CONTENDERS, print, ("ours", "floor"))
    event = Requests(ROOT, USER).event("list_tasks")
    with local_postgres(tmp_path_factory.mktemp("floor")) as backend:
        backend.add_tasks(USER, LIST)
        backend.settle()
        yield {
            each.name: Subject(
                runtime.command(each, "list_tasks", backend.url()), lambda: event, _check
            )
            for each in contenders
        }


def _check(answer: bytes) -> None:
    check("list_tasks", answer, tasks=LIST)


def test_a_cold_start_takes_at_most_its_share_of_processor_time(pair: Pair) -> None:
    """What else the machine does only ever adds, so the least of each is compared."""
    cold = measuring.cold(pair, 20, lambda: None)
    assert min(cold["ours"].cpu) / min(cold["floor"].cpu) <= _COLD


def test_a_warm_request_takes_at_most_its_share_of_processor_time_and_memory(pair: Pair) -> None:
    warm = measuring.warm(pair, Effort(lives=4, rounds=10), lambda: None)
    assert min(warm["ours"].cpu) / min(warm["floor"].cpu) <= _CPU
    assert max(warm["ours"].memory) / min(warm["floor"].memory) <= _MEMORY
