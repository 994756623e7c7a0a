"""`make sam-local` and `make sam-invoke`: what `sam build` built, in containers like Lambda's."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from subprocess import PIPE, STDOUT
from threading import Thread

import pytest
from psycopg.conninfo import conninfo_to_dict

from local.errors import LocalError
from local.sam import commands, docker
from local.sam.relay import reachable
from local.settings import HOST, read_settings
from tests.functions.handlers import EVENTS
from tests.functions.test_events import assert_expected
from tests.running import ROOT, free_port, until_ready
from tests.sam import runtime_python
from tests.sam_local.daemon import docker_daemon, end
from tests.sam_local.image import image_options

# The image that stands in for AWS's may have to be built first.
pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]

BUILD = ROOT / ".aws-sam" / "build"
SECRET = "a-secret-that-only-these-tests-know-0123456789"


@pytest.fixture(scope="module")
def environ(new_database: Callable[[], str]) -> Iterator[dict[str, str]]:
    """Return the variables of `make sam-local`. Skip without a Docker daemon."""
    runtime_python()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(docker_daemon(print))
            options = image_options(ROOT, print)
        except LocalError as error:
            pytest.skip(str(error))
        url = new_database()
        yield {"DATABASE_URL": url, "JWT_SECRET": SECRET, "SAM_OPTIONS": shlex.join(options)}


def test_start_api_serves_a_customer_and_leaves_no_container(environ: dict[str, str]) -> None:
    port = str(free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "local", "sam-local"],
        cwd=ROOT,
        env=os.environ | environ | {"PORT": port},
        stdout=PIPE,
        stderr=STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        url = until_ready(process, "Running on ").url
        assert url == f"http://{HOST}:{port}"
        visit = ["make", "smoke", f"URL={url}"]
        subprocess.run(visit, cwd=ROOT, env=os.environ | {"JWT_SECRET": SECRET}, check=True)
        assert commands.containers(BUILD)
    finally:
        end(process, signal.SIGINT)
    assert commands.containers(BUILD) == []


@pytest.fixture(scope="module")
def sam(environ: dict[str, str]) -> Iterator[commands.Sam]:
    """Build everything, and return SAM with a database."""
    settings = read_settings(ROOT, environ)
    with commands.sam_local(settings, commands.build(settings)) as sam:
        yield sam


@pytest.mark.parametrize("name", ["create_task", "docs", "migrate", "smoke"])
def test_a_function_answers_its_event_as_expected(sam: commands.Sam, name: str) -> None:
    """Those that no customer calls, and one that customers do call."""
    function = name.replace("_", " ").title().replace(" ", "")
    event = str(EVENTS / f"{name}.json")
    # Its standard output is the response, and the rest are logs.
    with sam.start("invoke", function, "--event", event, stdout=PIPE, stderr=PIPE) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert out, err  # it is empty after a time-out
    answer = json.loads(out)
    if name == "smoke":  # there is no stack whose API it could visit
        assert "api_url" in "".join(answer["stackTrace"]), answer
    else:
        assert_expected(name, answer)


def test_sam_gets_neither_the_functions_variables_nor_credentials_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".aws").mkdir()
    keys = "aws_access_key_id = AKIA\naws_secret_access_key = secret\n"
    (tmp_path / ".aws" / "credentials").write_text(f"[default]\n{keys}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "JWT_SECRET"):
        monkeypatch.setenv(name, "of-the-shell")
    environ = {**commands.environ_of_sam(), "HOME": str(tmp_path)}
    assert "of-the-shell" not in environ.values()
    code = "import boto3; print(boto3.Session().get_credentials())"
    python = ROOT / ".venv-sam" / "bin" / "python"
    assert subprocess.check_output([python, "-c", code], env=environ, text=True) == "None\n"


def test_a_missing_or_hanging_docker_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match=r"apt-get install docker\.io"):
        docker.check()
    (tmp_path / "docker").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setattr(docker, "_ANSWER_SECONDS", 0.2)
    with pytest.raises(LocalError, match=r"^No Docker daemon answers: start Docker"):
        docker.check()


def test_the_relay_lets_nobody_in_but_containers() -> None:
    with _greeter() as url:
        with reachable(url, docker.DESKTOP) as relayed:
            assert _first_bytes(relayed) == b"hello"
        with reachable(url, IPv4Interface("127.0.0.1/16")) as relayed:
            assert _first_bytes(relayed) == b""  # from the bridge's own address
            assert _first_bytes(relayed, source="127.0.0.9") == b"hello"
            assert _first_bytes(relayed, source="127.1.0.9") == b""  # from another network
    elsewhere = "postgresql://u:p@ep-x.eu-central-1.aws.neon.tech/db?sslmode=require"
    with reachable(elsewhere, IPv4Interface("172.30.0.1/24")) as same:
        assert same == elsewhere


@contextlib.contextmanager
def _greeter() -> Iterator[str]:
    """Run a server that says hello and hangs up, at the address of a database."""

    def greet() -> None:
        with contextlib.suppress(OSError):  # until it is shut down
            while True:
                with server.accept()[0] as client:
                    client.sendall(b"hello")

    with socket.create_server((HOST, 0)) as server:
        thread = Thread(target=greet)
        thread.start()
        yield f"postgresql://u:a#b@{HOST}:{server.getsockname()[1]}/db"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _first_bytes(url: str, source: str = HOST) -> bytes:
    address = (HOST, int(conninfo_to_dict(url)["port"] or 0))
    with socket.create_connection(address, timeout=20, source_address=(source, 0)) as client:
        return client.recv(5)
