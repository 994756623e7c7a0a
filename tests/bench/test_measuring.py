"""The benchmark's own parts: the Runtime API and its clocks, the relay, the figures, the files."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.__main__ import RESULTS
from bench.contenders import NAMES, ROOT
from bench.contract import OPERATIONS, BenchError
from bench.environment import Command, Environment
from bench.proxy import Proxy

Make = Callable[[str], Command]


@pytest.fixture
def command(tmp_path: Path) -> Make:
    """Makes the command of a handler with this source, run by the real awslambdaric."""

    def make(source: str) -> Command:
        (tmp_path / "app.py").write_text(source)
        path = ":".join([str(tmp_path), *(each for each in sys.path if each)])
        arguments = (sys.executable, "-m", "awslambdaric", "app.handler")
        return Command("the function", arguments, tmp_path, {"PYTHONPATH": path})

    return make


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\nprint('bad luck', flush=True)\nos._exit(3)", "status 3.*bad luck"),
        ("def handler(*_):\n    raise ValueError('no such task')", "ValueError: no such task"),
    ],
    ids=["a crash at start", "an error"],
)
def test_a_failure_is_reported_in_one_line(command: Make, source: str, said: str) -> None:
    with pytest.raises(BenchError) as failed, Environment(command(source)) as environment:
        environment.invoke(b"{}")
    assert re.search(said, str(failed.value))
    assert "\n" not in str(failed.value)


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
        cpu, memory = environment.cpu(), environment.peak_memory()
        environment.invoke(b'{"burn": 0.2, "bytes": 50000000}')
        assert 0.2 <= environment.cpu() - cpu < 2
        # The kernel adds up what each processor counted only now and then.
        assert environment.peak_memory() - memory >= 49_000_000


def test_the_proxy_is_as_far_away_as_it_should_be_and_counts_round_trips() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Proxy(listener.getsockname()[1], latency=0.015) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
    ):
        server, _ = listener.accept()
        with server:
            times = [time.perf_counter()]
            for _ in range(2):
                client.sendall(b"to")
                client.sendall(b"gether")
                server.sendall(server.recv(8, socket.MSG_WAITALL))
                assert client.recv(8, socket.MSG_WAITALL) == b"together"
                times.append(time.perf_counter())
        assert proxy.round_trips == 3  # TCP's own and two; what was sent at once is one
    assert times[1] - times[0] >= 0.06
    assert times[2] - times[1] >= 0.03


@pytest.fixture
def results() -> dict[str, Any]:
    """Make the results of a run of everything, in which every figure is 0.5."""
    half = {"median": 0.5, "low": 0.5, "high": 0.5}
    measured = dict.fromkeys((*report.MEASURES, "trips", "cold_trips"), half)
    compared = {
        "contenders": dict.fromkeys(NAMES, measured),
        "ratios": dict.fromkeys(report.TARGETS, measured),
    }
    way = {"title": "far away", "operations": dict.fromkeys(OPERATIONS, compared)}
    return {
        "conditions": "Measured in a test.",
        "contenders": dict(zip(NAMES, NAMES, strict=True)),
        "headline": compared,
        "endpoints": {"far": way},
        "cold-far": {"far": {"title": "far away"} | compared},
    }


def test_a_run_of_everything_judges_the_targets_and_writes_the_tables_of_all_pages(
    results: dict[str, Any], tmp_path: Path
) -> None:
    parts, written = report.parts(results), set()
    assert re.search(r"\| cold start .*\) <= 0\.45 MISSED .*\) <= 0\.95 met ", parts["ratios"])
    for name in report.PAGES:
        page = Path(shutil.copy(ROOT / name, tmp_path))
        report.update(page, parts)
        for part in re.findall(r"<!-- bench:(\S+) -->", page.read_text()):
            assert parts[part] in page.read_text()
            written.add(part)
    assert written == set(parts)


@pytest.mark.campaign
def test_a_quick_run_of_a_part_writes_its_results(built: object) -> None:
    assert built
    RESULTS.unlink(missing_ok=True)
    part = ("--only", "headline", "--contenders", "ours,floor")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", *part],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| ours / theirs " in done.stdout
    results = json.loads(RESULTS.read_text())
    assert [*results["contenders"]] == ["ours", "floor"]
    assert results["headline"]["contenders"]["floor"]["p99"]["median"] > 0
