"""`make run` from its first line to its last, and what it says when it cannot start."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
import psycopg
import pytest

from tests.local.toy import Gate, command, environment, kill, refused, served, write_product
from tests.running import ROOT, running, start, until_ready

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


def test_a_taken_port_is_said_in_one_sentence(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert refused(folder, PORT=port) == (
            f"Port {port} is taken by another program; stop it or choose another with PORT=..."
        )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PORT": "http"}, "PORT has to be a whole number from 0 to 65535."),
        ({"CONCURRENCY": "0"}, "CONCURRENCY has to be a whole number from 1 to 1000."),
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


def test_the_authorizer_refuses_its_settings_before_the_api_is_ready(
    tmp_path: Path, packages: Path
) -> None:
    folder = write_product(tmp_path, packages)
    said = "Authorizer: SettingsError: JWT_SECRET has to be random: "
    assert said in refused(folder, JWT_SECRET="a" * 32)


def test_an_issuer_beside_the_secret_needs_no_other_setting(tmp_path: Path, packages: Path) -> None:
    """The page of docs/identity.md sets JWT_ISSUERS alone; tokens of `make token` are good, too."""
    issuer = {
        "issuer": "http://localhost:3000",
        "audience": "http://localhost:3000",
        "algorithms": ["EdDSA"],
        "jwks_url": "http://localhost:3000/api/auth/jwks",
    }
    folder = write_product(tmp_path, packages)
    settings = environment({"JWT_ISSUERS": json.dumps([issuer])})
    with running(settings, cwd=folder) as api:
        assert "JWT_ISSUERS is set" in api.banner
        port = api.url.rpartition(":")[2]
        token = command(folder, "local", "token", "alice", PORT=port).stdout.strip()
        headers = {"authorization": f"Bearer {token}"}
        found = httpx.get(f"{api.url}/api/alice/tasks", headers=headers, timeout=30)
        assert (found.status_code, found.json()) == (200, [])


def test_settings_in_force_are_said_before_it_is_ready_and_secrets_are_not(folder: Path) -> None:
    settings = {"GREETING": "welcome", "CORS_ORIGIN": "https://typo.test", "DEBUG": "true"}
    with served(folder, **settings) as toy:
        assert "GREETING=welcome" in toy.running.banner
        near = "CORS_ORIGIN is set and is no setting: did you mean CORS_ORIGINS?"
        assert near in toy.running.banner


def test_an_unknown_name_on_makes_command_line_is_refused(folder: Path) -> None:
    said = refused(folder, GIVEN="GREETING GREETIN", GREETIN="welcome")
    assert said == "GREETIN is no setting: did you mean GREETING?"


def test_make_passes_the_names_of_its_command_line() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "run", "JWT_SECRETT=x y", "PORT=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (given,) = re.findall(r"GIVEN='(.*?)'", done.stdout)
    assert set(given.split()) == {"JWT_SECRETT", "PORT"}


def test_a_database_of_another_project_is_asked_about_first(
    tmp_path: Path, packages: Path, new_database: Callable[[], str]
) -> None:
    folder, url = write_product(tmp_path, packages), new_database()
    said = refused(folder, DATABASE_URL=url, YES="")
    assert said.startswith("Create the tables of this API in test_")
    assert said.endswith("Nobody answered, so nothing was created; YES=1 answers yes.")
    with psycopg.connect(url) as connection:
        tables = "SELECT FROM pg_tables WHERE schemaname = 'public'"
        assert connection.execute(tables).fetchall() == []
        connection.execute("CREATE TABLE task (id int)")
    said = refused(folder, DATABASE_URL=url)
    assert said.endswith(" has the tasks of another application: `make adopt` moves them in.")


def test_a_database_of_this_api_is_used_without_a_question(
    tmp_path: Path, packages: Path, new_database: Callable[[], str]
) -> None:
    folder, url = write_product(tmp_path, packages), new_database()
    assert command(folder, "local", "migrate", DATABASE_URL=url).returncode == 0
    with running(environment({"DATABASE_URL": url, "YES": ""}), cwd=folder) as api:
        assert [line for line in api.banner if line.startswith("Database: test_")]


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


def test_dependencies_that_cannot_be_installed_are_said_in_one_sentence(folder: Path) -> None:
    (folder / "requirements/runtime.txt").unlink()
    (folder / "requirements/runtime.txt").write_text(
        f"nothing-of-this-name==1.0 --hash=sha256:{'0' * 64}\n"
    )
    said = refused(folder, UV_OFFLINE="1")
    assert said.startswith("requirements/runtime.txt cannot be installed")
    assert not list((folder / ".local/packages/").glob(".runtime*"))


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
