"""Processes that tests start: the local API, as `make run` starts it, and other Pythons."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TextIO

from tasks.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
_READY = "Ready on "
_SETTINGS = {
    *("DATABASE_URL", "JWT_SECRET", "JWT_ISSUER", "JWT_AUDIENCE", "JWT_ISSUERS", "CORS_ORIGINS"),
    *("JWT_PREVIOUS_SECRET", "JWT_SUBJECTS"),
    *(name.upper() for name in Settings._fields),
}


@dataclass(frozen=True)
class Running:
    """A started API: its address, its process, and what it printed until it was ready."""

    url: str
    process: subprocess.Popen[str]
    banner: list[str]


@contextmanager
def running(settings: Mapping[str, str], cwd: Path = ROOT) -> Iterator[Running]:
    """Start the API with `settings` on a free port, and stop it as Ctrl-C does."""
    process = start(settings, cwd)
    try:
        yield until_ready(process)
    finally:
        stop(process)


def start(
    settings: Mapping[str, str], cwd: Path = ROOT, stdin: int | None = None
) -> subprocess.Popen[str]:
    """Start the API in a session of its own, without the settings of the tests."""
    environment = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    return subprocess.Popen(
        [sys.executable, "-m", "local", "run"],
        cwd=cwd,
        stdin=stdin,
        env=environment | {"PORT": str(free_port()), "YES": "1"} | dict(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until_ready(process: subprocess.Popen[str], ready: str = _READY) -> Running:
    """Read the output until the line that has `ready` in front of the address."""
    assert process.stdout is not None
    banner: list[str] = []
    for line in process.stdout:
        banner.append(line.rstrip("\n"))
        if ready in line:
            # Something has to go on reading, or a full pipe would block the API.
            Thread(target=_read_to_the_end, args=[process.stdout], daemon=True).start()
            return Running(line.partition(ready)[2].strip(), process, banner)
    raise AssertionError("the API ended before it was ready:\n" + "\n".join(banner))


def _read_to_the_end(stream: TextIO) -> None:
    with stream:
        stream.read()


def stop(process: subprocess.Popen[str]) -> None:
    """Stop the API as Ctrl-C does. If it does not end, kill it and raise TimeoutExpired."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def free_port() -> int:
    """Return a port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def python(source: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the source in a new Python that can import this package, and end it at the exit."""
    path = os.pathsep.join(each for each in sys.path if each)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", source, *arguments],
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": path, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
