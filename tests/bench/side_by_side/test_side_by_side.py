"""The benchmark's own parts: the Runtime API and its clocks, the relay, the figures, the table."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.bench.side_by_side import charts, crowd, figures, measuring, report
from tests.bench.side_by_side.environment import Command, Environment, EnvironmentFailed
from tests.bench.side_by_side.measuring import Effort, Subject
from tests.bench.side_by_side.relay import Relay

_ECHO = "def handler(event, context):\n    return {'said': event}\n"
Make = Callable[[str], Command]


@pytest.fixture
def command(tmp_path: Path) -> Make:
    """Makes the command of a handler with this source, run by the real awslambdaric."""

    def make(source: str) -> Command:
        (tmp_path / "app.py").write_text(source)
        path = ":".join([str(tmp_path), *(each for each in sys.path if each)])
        variables = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        arguments = (sys.executable, "-m", "awslambdaric", "app.handler")
        return Command("the function", arguments, tmp_path, variables)

    return make


def test_a_real_runtime_client_answers_what_it_is_asked_again_and_again(command: Make) -> None:
    with Environment(command(_ECHO)) as environment:
        environment.ready()
        for text in (b'"a"', b'"b"', b'"' + b"c" * 100_000 + b'"'):
            seconds, answer = environment.invoke(text)
            assert answer == b'{"said": ' + text + b"}"
            assert seconds > 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('no settings')", "could not start: RuntimeError: no settings"),
        ("import os, sys\nprint('bad luck', flush=True)\nos._exit(3)", "status 3.*bad luck"),
    ],
    ids=["an error", "a crash"],
)
def test_a_process_that_cannot_start_is_reported_in_a_sentence(
    command: Make, source: str, said: str
) -> None:
    with (
        Environment(command(source)) as environment,
        pytest.raises(EnvironmentFailed, match=said) as failed,
    ):
        environment.ready()
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [("raise ValueError('no such task')", "ValueError: no such task"), ("os._exit(4)", "status 4")],
    ids=["an error", "a crash"],
)
def test_a_request_that_fails_is_reported(command: Make, body: str, said: str) -> None:
    source = f"import os\ndef handler(event, context):\n    {body}\n"
    with Environment(command(source)) as environment:
        environment.ready()
        with pytest.raises(EnvironmentFailed, match=said):
            environment.invoke(b"{}")


def test_the_processor_clock_and_the_peak_of_memory_are_those_of_the_process(
    command: Make,
) -> None:
    source = (
        "import time\n"
        "def handler(event, context):\n"
        "    end = time.process_time() + event['burn']\n"
        "    while time.process_time() < end: pass\n"
        "    return len(bytearray(event['bytes']))\n"
    )
    with Environment(command(source)) as environment:
        environment.ready()
        cpu, memory = environment.cpu(), environment.peak_memory()
        environment.invoke(b'{"burn": 0, "bytes": 0}')
        little = environment.cpu() - cpu
        environment.invoke(b'{"burn": 0.2, "bytes": 50000000}')
        assert 0 < little < 0.2 <= environment.cpu() - cpu - little
        # The kernel adds up what each processor counted only now and then.
        assert environment.peak_memory() - memory >= 49_000_000


def test_a_process_is_gone_after_its_block(command: Make) -> None:
    with Environment(command(_ECHO)) as environment:
        environment.ready()
    with pytest.raises(OSError, match="Invalid argument"):
        environment.cpu()


def test_every_contender_has_its_turn_in_each_round(command: Make) -> None:
    subject = Subject(command(_ECHO), lambda: b"1", _is_echo)
    ticks: list[int] = []
    found = measuring.warm(
        {"one": subject, "other": subject}, Effort(1, 2, 3), lambda: ticks.append(1)
    )
    assert len(ticks) == 2
    assert {name: len(warm.all()) for name, warm in found.items()} == {"one": 50, "other": 50}


def test_many_environments_are_busy_at_once(command: Make) -> None:
    source = "import time\ndef handler(event, context):\n    time.sleep(0.1)\n    return event\n"
    subject = Subject(command(source), lambda: b"1", lambda _: None)
    with ExitStack() as stack:
        everybody = crowd.start(stack, subject.command, 3)
        found = crowd.crowd(everybody, subject, 0.3)
    assert len(found.requests) >= 3
    assert found.seconds < sum(found.requests)  # one after the other would have taken that


def _is_echo(answer: bytes) -> None:
    assert answer == b'{"said": 1}'


# --- the relay ---


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that says what it hears, to one client."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        wire, _ = listener.accept()
        with wire:
            while data := wire.recv(1000):
                wire.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    thread.join()
    listener.close()


def test_the_relay_is_as_far_away_as_it_should_be_and_counts_round_trips(echo: int) -> None:
    with Relay(echo, 30) as relay, socket.create_connection(("127.0.0.1", relay.port)) as wire:
        started = time.perf_counter()
        wire.sendall(b"first")
        assert wire.recv(100) == b"first"
        first = time.perf_counter() - started
        wire.sendall(b"sec")
        wire.sendall(b"ond")
        heard = b""
        while len(heard) < 6:
            heard += wire.recv(100)
        second = time.perf_counter() - started - first
        assert relay.round_trips() == 3  # TCP's own, and two; what was sent at once is one
    assert first >= 0.06
    assert second >= 0.03


# --- figures, table, charts ---


def test_a_quantile_is_interpolated() -> None:
    assert figures.quantile([4, 1, 3, 2], 0.5) == 2.5
    assert figures.quantile([10, 20], 1.0) == 20
    assert figures.quantile([7], 0.99) == 7


def test_a_ratio_compares_what_was_measured_in_the_same_round() -> None:
    busy = [1.0, 10.0, 1.0, 10.0]  # every second round the machine was busy with something else
    found = figures.paired(busy, [2 * each for each in busy])
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


def test_a_ratio_of_tails_has_the_spread_of_its_rounds() -> None:
    same = [[1.0, 2.0]] * 4
    assert figures.pooled(same, [[2.0, 4.0]] * 4, 0.99).low == pytest.approx(0.5)
    uneven = figures.pooled([[1.0], [1.0], [9.0], [1.0]], [[1.0]] * 4, 0.99)
    assert uneven.low < uneven.value <= uneven.high


def _results(cold: float) -> dict[str, Any]:
    spread = {"median": 2.0, "low": 1.5, "high": 3.0}
    one = dict.fromkeys(report._FIGURES, spread) | {"p99_ms": 4.0, "memory_mb": 50.0}
    one |= {"unpacked_mb": 20.0, "zipped_mb": 9.0}
    ratios = {each: {"ratio": 0.1, "low": 0.05, "high": 0.2} for each in report.MEASURES}
    ratios["cold"] = {"ratio": cold, "low": cold, "high": cold}
    return {
        "contenders": {"ours": "ours <&>", "floor": "floor"},
        "headline": {"contenders": {"ours": one, "floor": one}, "ratios": {"floor": ratios}},
    }


@pytest.mark.parametrize(("cold", "said"), [(1.45, "met"), (1.46, "MISSED")])
def test_the_table_says_whether_a_target_is_met(cold: float, said: str) -> None:
    row = next(line for line in report.text(_results(cold)).splitlines() if "| cold start " in line)
    assert re.search(rf"{cold:.2f} \(.*\) <= 1.45 {said} ", row)
    (judged,) = [each for each in report.verdicts(_results(cold)) if each["what"] == "cold start"]
    assert judged["met"] is (said == "met")


def test_charts_are_well_formed(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    charts.write(_results(1.0), tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {"cold-start.svg", "headline.svg"}
    for path in tmp_path.iterdir():
        words = ElementTree.parse(path).getroot().itertext()  # noqa: S314 - our own
        assert "ours <&>" in set(words)
