"""`sam local` as developers run it: a Docker daemon, the image, a build, a database, the API."""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.errors import LocalError
from local.sam import processes
from local.sam.commands import STOP_SECONDS, Sam, sam_local
from local.settings import HOST, read_settings
from tests.running import ROOT, free_port
from tests.sam import sam as sam_cli

SECRET = "a-secret-that-only-these-tests-know-0123456789"
_READY_SECONDS = 180.0


@dataclass(frozen=True)
class Api:
    """A running `sam local start-api`, and where it writes what it says."""

    url: str
    log: Path


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of `sam build`, in a folder of their own."""
    python = subprocess.run(
        [ROOT / "layers" / "find-python", "3.13"], capture_output=True, text=True, check=False
    )
    if python.returncode:
        pytest.skip(python.stderr.strip())
    folder = tmp_path_factory.mktemp("sam-build")
    result = sam_cli("build", "--build-dir", str(folder))
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[], str]) -> str:
    """The database behind the functions, as seen from this machine."""
    return new_database()


@pytest.fixture(scope="session")
def sam(build: Path, database_url: str) -> Iterator[Sam]:
    """SAM with everything up around it. Skips where no Docker daemon runs or can be started."""
    settings = read_settings(ROOT, {"DATABASE_URL": database_url, "JWT_SECRET": SECRET})
    started = sam_local(settings, build, print)
    try:
        ready = started.__enter__()
    except LocalError as error:
        pytest.skip(str(error))
    try:
        ready.migrate()
        yield ready
    finally:
        started.__exit__(None, None, None)


@pytest.fixture(scope="session")
def api(sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """`sam local start-api` with warm containers."""
    port, log = free_port(), tmp_path_factory.mktemp("start-api") / "log"
    address = ("--host", HOST, "--port", str(port))
    with log.open("w") as output:
        process = sam.start(
            "start-api", *address, "--warm-containers", "EAGER", stdout=output, stderr=output
        )
    try:
        _wait_until_ready(process, log)
        yield Api(f"http://{HOST}:{port}", log)
    finally:
        processes.end(process, signal.SIGINT, STOP_SECONDS)


def _wait_until_ready(process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if re.search(r"Running on http", log.read_text(errors="replace")):
            return
        time.sleep(0.2)
    raise AssertionError(f"sam local start-api did not start:\n{log.read_text()[-3000:]}")
