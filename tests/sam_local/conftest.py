"""`sam local` as developers run it: a Docker daemon, the image, a build, a database, the API."""

import contextlib
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from local.errors import LocalError
from local.sam import docker
from local.sam.commands import Sam, api_options, sam_local
from local.settings import HOST, read_settings
from tests.contract.client import Client
from tests.functions.handlers import EVENTS
from tests.functions.test_events import function_of, insert_alices_task
from tests.running import ROOT, free_port
from tests.sam import runtime_python
from tests.sam import sam as sam_cli
from tests.sam_local.daemon import docker_daemon, end
from tests.sam_local.image import image_options
from tests.sam_local.session import Answer, play

SECRET = "a-secret-that-only-these-tests-know-0123456789"
_READY_SECONDS = 180.0
_AT_A_TIME = 2
_DELETES = "delete_task"

Invocation = Future["CompletedProcess[str]"]
Recording = Future[dict[str, Answer]]

# Variables that a developer's shell may have; containers must not see them.
SHELL = {
    "DATABASE_URL": "postgresql://somebody@localhost:1/of_the_shell",
    "JWT_SECRET": "a-secret-of-the-shell-that-is-long-enough-0123456789",
    "POWERTOOLS_SERVICE_NAME": "of-the-shell",
    "AWS_ACCESS_KEY_ID": "AKIAOFTHESHELL",
    "AWS_SECRET_ACCESS_KEY": "of-the-shell",
    "AWS_PROFILE": "of-the-shell",
}


@dataclass(frozen=True)
class Api:
    """A running `sam local start-api`, and the file of its output."""

    url: str
    log: Path


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the artifacts of `sam build`, in a folder of their own."""
    runtime_python()
    folder = tmp_path_factory.mktemp("sam-build")
    result = sam_cli("build", "--build-dir", str(folder))
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[], str]) -> str:
    """Return the functions' database, as this machine reaches it."""
    return new_database()


@pytest.fixture(scope="session")
def sam(build: Path, database_url: str) -> Iterator[Sam]:
    """Start all that SAM needs. Skip if no Docker daemon runs and none can be started."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(docker_daemon(print))
            options = image_options(ROOT, print)
        except LocalError as error:
            pytest.skip(str(error))
        given = {"DATABASE_URL": database_url, "JWT_SECRET": SECRET}
        settings = read_settings(ROOT, {**given, "SAM_OPTIONS": shlex.join(options)})
        with pytest.MonkeyPatch.context() as shell:
            for name, value in SHELL.items():
                shell.setenv(name, value)
            ready = stack.enter_context(sam_local(settings, build))
        yield ready


@pytest.fixture(scope="session")
def containers(api: Api) -> dict[str, str]:
    """Return the warm container of each function, by the function's name."""
    assert api
    label = '{{.ID}} {{.Label "sam.cli.function.name"}}'
    lines = docker.ask("ps", "--no-trunc", "--format", label).splitlines()
    return {name: container for container, _, name in (line.partition(" ") for line in lines)}


@pytest.fixture(scope="session")
def invocations(
    sam: Sam, containers: dict[str, str], database_url: str
) -> Iterator[dict[str, Invocation]]:
    """Send every event through `sam local invoke`, some at a time; the deletion comes last.

    They keep the processors busy, so the tests of the API wait for this fixture.
    """
    assert containers  # only then are there no others yet
    insert_alices_task(database_url)
    names = {path.stem for path in EVENTS.glob("*.json")}
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        started = {name: pool.submit(_invoke, sam, name) for name in sorted(names - {_DELETES})}
        started[_DELETES] = pool.submit(_after, list(started.values()), sam)
        try:
            yield started
        finally:
            pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def recording(api: Api) -> Iterator[Recording]:
    """Return what SAM's gateway answers to the session, request by request."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(play, Client(api.url, SECRET, "recorder"))


def _invoke(sam: Sam, name: str) -> "CompletedProcess[str]":
    function = function_of(name).replace("_", " ").title().replace(" ", "")
    command = ("invoke", function, "--event", str(EVENTS / f"{name}.json"))
    # Its standard output is the answer, the rest are logs.
    with sam.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate()
    return CompletedProcess(command, process.returncode, out, err)


def _after(others: list[Invocation], sam: Sam) -> "CompletedProcess[str]":
    for other in others:
        other.exception()
    return _invoke(sam, _DELETES)


@pytest.fixture(scope="session")
def api(sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Run `sam local start-api` with warm containers."""
    port, log = free_port(), tmp_path_factory.mktemp("start-api") / "log"
    settings = read_settings(ROOT, {"PORT": str(port), "JWT_SECRET": SECRET})
    with log.open("w") as output:
        options = api_options(settings)
        process = sam.start("start-api", *options, stdout=output, stderr=output)
    try:
        wait_until_ready(process, log)
        yield Api(f"http://{HOST}:{port}", log)
    finally:
        end(process, signal.SIGINT)


def wait_until_ready(process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if re.search(r"Running on http", log.read_text(errors="replace")):
            return
        time.sleep(0.2)
    raise AssertionError(f"sam local start-api did not start:\n{log.read_text()[-3000:]}")
