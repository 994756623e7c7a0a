"""`make run` from its first line to its last, and what it says when it cannot start."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
import pytest

from tests.local.toy import Gate, environment, kill, refused, served
from tests.running import ROOT, start, stop, until_ready

T = TypeVar("T")

WITH_DATABASE = """
  DatabaseUrl: {Type: String, AllowedPattern: "^postgresql://.+$", ConstraintDescription: is wrong}
"""
MIGRATE = """
  Migrate:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/worker
      Handler: migrate.handler
      Environment: {Variables: {DATABASE_URL: !Ref DatabaseUrl}}
"""


@pytest.fixture
def with_database(folder: Path) -> Path:
    """Write a toy with a database and a Migrate function that can be told to fail."""
    template = (folder / "template.yaml").read_text()
    template = template.replace("Parameters:\n", f"Parameters:{WITH_DATABASE}", 1)
    (folder / "template.yaml").write_text(template + MIGRATE.lstrip("\n"))
    (folder / "functions/worker/migrate.py").write_text(
        "import os\n\ndef handler(event, context):\n"
        '    if "refuse" in os.environ["DATABASE_URL"]:\n'
        '        raise RuntimeError("no\\nway")\n'
        '    return {"applied": [], "version": 1}\n'
    )
    return folder


def test_it_prints_routes_and_a_first_request_and_then_that_it_is_ready(folder: Path) -> None:
    with served(folder) as toy:
        banner = toy.running.banner
        assert any(re.fullmatch(r" +GET +/who +Echo", line) for line in banner)
        curl = next(line for line in banner if line.startswith("curl "))
        answer = subprocess.run(curl, shell=True, capture_output=True, check=True)  # noqa: S602
        assert b'"routeKey": "GET /who"' in answer.stdout
        assert banner[-1] == f"Ready on {toy.url}"
        assert toy.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_all_that_it_started(with_database: Path, number: int) -> None:
    process = start(environment({}), cwd=with_database)
    api = until_ready(process)
    assert httpx.get(f"{api.url}/echo/a").status_code == 200
    children = psutil.Process(process.pid).children(recursive=True)
    children.append(psutil.Process(_server(with_database)))
    process.send_signal(number)
    assert process.wait(timeout=10) == 0
    assert not any(map(_is_alive, children))


def test_a_signal_while_it_starts_ends_it_as_quietly(with_database: Path) -> None:
    process = start(environment({}), cwd=with_database)
    children = _until(lambda: psutil.Process(process.pid).children(recursive=True))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    _, alive = psutil.wait_procs(children, timeout=0)
    assert not alive


def test_a_request_under_way_is_answered_before_the_end(folder: Path, gate: Gate) -> None:
    with served(folder) as toy, ThreadPoolExecutor(1) as background:
        busy = background.submit(toy.work, f"{gate.code}; answer = 'finished'")
        gate.wait_for(1)
        toy.running.process.send_signal(signal.SIGINT)
        _until(lambda: _refuses(toy.url))
        gate.open()
        assert busy.result().text == "finished"
        assert toy.running.process.wait(timeout=10) == 0


def test_a_request_that_does_not_end_cannot_keep_it_from_ending(folder: Path, gate: Gate) -> None:
    process = start(environment({}), cwd=folder)
    assert process.stdout
    url = next(line for line in process.stdout if line.startswith("Ready on ")).split()[-1]
    with ThreadPoolExecutor(1) as background:
        headers = {"content-type": "text/plain"}
        busy = background.submit(httpx.post, f"{url}/work", content=gate.code, headers=headers)
        gate.wait_for(1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=6)
        assert isinstance(busy.exception(), httpx.HTTPError)
    assert process.returncode == 0
    assert "Traceback" not in output
    assert "never retrieved" not in output


def test_functions_end_even_when_it_is_killed(folder: Path, gate: Gate) -> None:
    with served(folder) as toy, ThreadPoolExecutor(1) as background:
        functions = [psutil.Process(toy.work("answer = os.getpid()", "/short").json())]
        if sys.platform == "linux":  # elsewhere a busy function ends after its request
            functions.append(psutil.Process(toy.work("answer = os.getpid()").json()))
            background.submit(toy.work, gate.code)
            gate.wait_for(1)
        kill(toy.running.process)
        _until(lambda: not any(map(_is_alive, functions)))


def test_killed_and_started_again_it_finds_its_database_running(with_database: Path) -> None:
    first = start(environment({}), cwd=with_database)
    until_ready(first)
    server = _server(with_database)
    kill(first)
    assert psutil.pid_exists(server)
    second = start(environment({}), cwd=with_database)
    until_ready(second)
    assert _server(with_database) == server
    stop(second)
    assert not (with_database / ".local/postgres/postmaster.pid").exists()


def test_a_taken_port_is_said_in_one_sentence(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert refused(folder, PORT=port) == (
            f"Port {port} is taken by another program; stop it or choose another with PORT=..."
        )


def test_a_second_run_on_the_same_data_is_refused(with_database: Path) -> None:
    first = start(environment({}), cwd=with_database)
    until_ready(first)
    said = refused(with_database)
    assert said.endswith(f"postgres is in use by process {first.pid}; stop it first.")
    stop(first)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PORT": "http"}, "PORT has to be a whole number from 0 to 65535."),
        ({"CONCURRENCY": "0"}, "CONCURRENCY has to be a whole number from 1 to 1000."),
        ({"JWT_SECRET": "short"}, "JWT_SECRET is shorter than 32 bytes."),
        (
            {"JWT_SECRET": "a" * 32},
            "JWT_SECRET has to be random: it has fewer than 8 different characters.",
        ),
        ({"JWT_PREVIOUS_SECRET": "short"}, "JWT_PREVIOUS_SECRET is shorter than 32 bytes."),
        ({"GREETING": "ahoy"}, "GREETING has to be one of hello, welcome."),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL is wrong."),
        (
            {"DATABASE_URL": "postgresql://refuse"},
            "The schema cannot be applied to DATABASE_URL: Migrate: RuntimeError: no way",
        ),
    ],
)
def test_a_bad_setting_is_said_in_one_sentence(
    with_database: Path, settings: dict[str, str], said: str
) -> None:
    assert refused(with_database, **settings) == said


def test_an_unreachable_database_is_said_in_one_sentence() -> None:
    url = "postgresql://somebody:pass-word@127.0.0.1:1/tasks"
    said = refused(ROOT, DATABASE_URL=url)
    assert said.startswith("The schema cannot be applied to DATABASE_URL: ")
    assert "pass-word" not in said


def test_a_broken_migration_is_said_in_one_sentence(with_database: Path) -> None:
    process = start(environment({}), cwd=with_database)
    assert process.stdout
    url = next(line for line in process.stdout if line.startswith("Ready on ")).split()[-1]
    (with_database / "functions/worker/migrate.py").write_text(
        "def handler(event, context):\n    print('loud')\n    raise RuntimeError('no way')\n"
    )
    assert httpx.get(f"{url}/echo/a").status_code == 200
    process.send_signal(signal.SIGINT)
    sentence, _ = process.communicate(timeout=20)[0].splitlines()
    assert sentence == (
        "The schema cannot be applied to the embedded database: Migrate: RuntimeError: no way."
        " What was before the edit stays in use."
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "template.yaml is not valid YAML: "),
        ("a: b", "template.yaml has no Resources."),
        ("Resources: {F: }", "template.yaml: Resources has a name without a definition."),
        ("{Parameters: , Resources: {}}", "template.yaml: Parameters has a name without a"),
        (
            "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: }}",
            "template.yaml cannot be read: KeyError: 'CodeUri'",
        ),
    ],
)
def test_a_bad_template_is_said_in_one_sentence(folder: Path, content: str, said: str) -> None:
    (folder / "template.yaml").write_text(content)
    assert refused(folder).startswith(said)


def test_dependencies_that_cannot_be_installed_are_said_in_one_sentence(folder: Path) -> None:
    (folder / "requirements/runtime.txt").unlink()
    (folder / "requirements/runtime.txt").write_text(
        f"nothing-of-this-name==1.0 --hash=sha256:{'0' * 64}\n"
    )
    said = refused(folder, UV_OFFLINE="1")
    assert said.startswith("requirements/runtime.txt cannot be installed")
    assert not list((folder / ".local/packages/").glob(".runtime*"))


def test_a_postgres_that_does_not_start_is_said_in_one_sentence(with_database: Path) -> None:
    stop_after_start = start(environment({}), cwd=with_database)
    until_ready(stop_after_start)
    stop(stop_after_start)
    configuration = with_database / ".local/postgres/postgresql.conf"
    good = configuration.read_text()
    configuration.write_text("nonsense = 1\n")
    said = refused(with_database)
    assert said.startswith("Postgres did not start (its log is ")
    assert "configuration" in said
    configuration.write_text(good)
    again = start(environment({}), cwd=with_database)
    until_ready(again)
    stop(again)


def test_the_secret_is_kept_for_the_next_run_and_for_nobody_else(folder: Path) -> None:
    with served(folder):
        kept = folder / ".local/jwt_secret"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        secret = kept.read_text()
    with served(folder):
        assert kept.read_text() == secret
    assert len(secret) >= 32


def test_access_lines_hold_no_secrets(folder: Path) -> None:
    process = start(environment({}), cwd=folder)
    assert process.stdout
    url = next(line for line in process.stdout if line.startswith("Ready on ")).split()[-1]
    httpx.get(f"{url}/echo/%1B?token=secret", headers={"authorization": "Bearer secret"})
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert re.search(r"^GET /echo/%1B 200 \d+ ms$", output, re.MULTILINE)
    assert "secret" not in output
    assert "Traceback" not in output


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _server(folder: Path) -> int:
    return int((folder / ".local/postgres/postmaster.pid").read_text().split()[0])


def _refuses(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def _until(find: Callable[[], T]) -> T:
    """Wait for something that sends no event, and return it."""
    end = time.monotonic() + 10
    while not (found := find()):
        assert time.monotonic() < end
        os.sched_yield()
    return found
