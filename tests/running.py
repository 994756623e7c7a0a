"""The local API as a process, the way `make run` starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_READY = "Ready on "


@dataclass(frozen=True)
class Running:
    """A started API: where it answers, its process, and what it printed until it was ready."""

    url: str
    process: subprocess.Popen[str]
    banner: list[str]


@contextmanager
def running(cwd: Path = ROOT, **settings: str) -> Iterator[Running]:
    """Start the API with `settings` on a free port, and stop it as Ctrl-C does."""
    process = start(cwd, **settings)
    try:
        yield until_ready(process)
    finally:
        stop(process)


def start(cwd: Path = ROOT, **settings: str) -> subprocess.Popen[str]:
    """Start the API in a session of its own, with an environment without the tests' settings."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.Popen(
        [sys.executable, "-m", "local", "run"],
        cwd=cwd,
        env=environment | {"PORT": str(free_port())} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until_ready(process: subprocess.Popen[str]) -> Running:
    """Read what the API prints until it says that it is ready."""
    assert process.stdout is not None
    banner: list[str] = []
    for line in process.stdout:
        banner.append(line.rstrip("\n"))
        if line.startswith(_READY):
            return Running(line.removeprefix(_READY).strip(), process, banner)
    raise AssertionError("the API ended before it was ready:\n" + "\n".join(banner))


def stop(process: subprocess.Popen[str]) -> None:
    """Ctrl-C, then wait; what is still printed is read so that nobody blocks on a full pipe."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
