"""`make run` from its first line to its last, and what it says when it cannot start."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from bench.servers import until
from tests.local.toy import (
    Gate,
    add_database,
    command,
    environment,
    refused,
    served,
    write_product,
)
from tests.running import ROOT, running, start


def test_it_prints_routes_settings_and_a_first_request_before_it_is_ready(folder: Path) -> None:
    with served(folder, GREETING="welcome", CORS_ORIGIN="https://typo.test") as toy:
        banner = toy.running.banner
        assert any(re.fullmatch(r" +GET +/who +Echo", line) for line in banner)
        curl = next(line for line in banner if line.startswith("curl "))
        answer = subprocess.run(curl, shell=True, capture_output=True, check=True)  # noqa: S602
        assert b'"routeKey": "GET /who"' in answer.stdout
        assert "GREETING=welcome" in banner
        assert "CORS_ORIGIN is set and is no setting: did you mean CORS_ORIGINS?" in banner
        assert banner[-1] == f"Ready on {toy.url}"
        assert toy.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_ends_all_that_it_started_also_in_the_middle_of_a_request(
    folder: Path, gate: Gate, number: signal.Signals
) -> None:
    add_database(folder)
    process = start(environment({}), cwd=folder)
    assert process.stdout
    url = next(line for line in process.stdout if line.startswith("Ready on ")).split()[-1]
    with ThreadPoolExecutor(1) as background:
        headers = {"content-type": "text/plain"}
        busy = background.submit(httpx.post, f"{url}/work", content=gate.code, headers=headers)
        gate.wait_for(1)
        children = psutil.Process(process.pid).children(recursive=True)
        server = (folder / ".local/postgres/postmaster.pid").read_text().split()[0]
        process.send_signal(number)
        output, _ = process.communicate(timeout=10)
        assert isinstance(busy.exception(), httpx.HTTPError)
    assert process.returncode == 0
    assert "Traceback" not in output
    assert not any(map(_is_alive, [*children, *_processes(int(server))]))


def test_functions_end_even_when_it_is_killed(folder: Path, gate: Gate) -> None:
    with served(folder) as toy, ThreadPoolExecutor(1) as background:
        functions = [psutil.Process(toy.work("answer = os.getpid()", "/short").json())]
        functions.append(psutil.Process(toy.work("answer = os.getpid()").json()))
        background.submit(toy.work, gate.code)
        gate.wait_for(1)
        toy.running.process.kill()
        until(lambda: not any(map(_is_alive, functions)))


def test_a_file_that_cannot_be_used_is_said_in_one_sentence(folder: Path) -> None:
    secret = folder / ".local" / "jwt_secret"
    secret.mkdir(parents=True)
    assert refused(folder, JWT_SECRET="") == f"{secret} cannot be used: Is a directory."


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
        ({"GREETING": "ahoy"}, "GREETING has to be one of hello, welcome."),
        (
            {"GIVEN": "GREETING GREETIN", "GREETIN": "welcome"},
            "GREETIN is no setting: did you mean GREETING?",
        ),
    ],
)
def test_a_bad_setting_is_said_in_one_sentence(
    folder: Path, settings: dict[str, str], said: str
) -> None:
    assert refused(folder, **settings) == said


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"JWT_SECRET": "a" * 32}, "Authorizer: SettingsError: JWT_SECRET has to be random: "),
        (
            {"DATABASE_URL": "postgresql://a:pass-word@127.0.0.1:1/c"},
            "The schema cannot be applied to DATABASE_URL: Migrate: ",
        ),
    ],
)
def test_a_setting_that_a_function_refuses_is_said_without_its_secrets(
    tmp_path: Path, packages: Path, settings: dict[str, str], said: str
) -> None:
    sentence = refused(write_product(tmp_path, packages), **settings)
    assert sentence.startswith(said)
    assert "pass-word" not in sentence


def test_an_issuer_beside_the_secret_needs_no_other_setting(tmp_path: Path, packages: Path) -> None:
    """The page of docs/issuers.md sets JWT_ISSUERS alone; tokens of `make token` are good, too."""
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


def test_the_database_of_another_project_is_asked_about_and_never_that_of_this_api(
    tmp_path: Path, packages: Path, new_database: Callable[[], str]
) -> None:
    folder, url = write_product(tmp_path, packages), new_database()
    said = refused(folder, DATABASE_URL=url, YES="")
    assert said.startswith("Create the tables of this API in test_")
    assert said.endswith("Nobody answered, so nothing was created; YES=1 answers yes.")
    for yes in ("1", ""):
        with running(environment({"DATABASE_URL": url, "YES": yes}), cwd=folder) as api:
            assert [line for line in api.banner if line.startswith("Database: test_")]
    other = new_database()
    with psycopg.connect(other) as connection:
        connection.execute("CREATE TABLE task (id int)")
    said = refused(folder, DATABASE_URL=other)
    assert said.endswith(" has the tasks of another application: `make adopt` moves them in.")


def test_dependencies_that_cannot_be_installed_are_said_in_one_sentence(folder: Path) -> None:
    (folder / "requirements/runtime.txt").unlink()
    (folder / "requirements/runtime.txt").write_text(
        f"nothing-of-this-name==1.0 --hash=sha256:{'0' * 64}\n"
    )
    said = refused(folder, UV_OFFLINE="1")
    assert said.startswith("requirements/runtime.txt cannot be installed")
    assert not list((folder / ".local/packages/").glob(".runtime*"))


def _processes(*ids: int) -> list[psutil.Process]:
    return [psutil.Process(each) for each in ids if psutil.pid_exists(each)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
