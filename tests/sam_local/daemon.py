"""A Docker daemon: the one that already runs, or a private one.

The private daemon has its own data, socket and bridge, and does not touch the machine's firewall.
So its containers reach this machine and nothing else. It ends with the process that started it,
even if that is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from local.errors import LocalError
from local.sam import docker

_SECONDS = 60.0  # to start, and to stop
_POLL_SECONDS = 0.1
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

Progress = Callable[[str], None]


@contextlib.contextmanager
def docker_daemon(progress: Progress) -> Iterator[None]:
    """Use the daemon that answers, or start one and stop it at the end.

    Raise LocalError if there is none and none can be started.
    """
    if shutil.which("docker") and docker.answers():
        yield
        return
    _check_tools()
    progress("No Docker daemon answers; starting a private one ...")
    with _private_daemon():
        yield


@contextlib.contextmanager
def _private_daemon() -> Iterator[None]:
    """Start a daemon, name it in DOCKER_HOST, and end it with its network and data."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="sam-docker-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        bridge = stack.enter_context(_bridge())
        environ = stack.enter_context(pytest.MonkeyPatch.context())
        environ.setenv("DOCKER_HOST", f"unix://{folder}/docker.sock")
        process = _start(folder, bridge)
        stack.callback(end, process, signal.SIGTERM)
        _wait_until_ready(process, folder / "log")
        yield


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal and wait; at last kill the process and its children."""
    process.send_signal(number)
    try:
        process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _check_tools() -> None:
    missing = [name for name in ("docker", "dockerd", "ip") if not shutil.which(name, path=_PATH)]
    if sys.platform != "linux" or os.geteuid() != 0 or missing:
        raise LocalError(
            "No Docker daemon answers: start Docker. On Debian, root can have one started with"
            " docker.io and iproute2 installed."
        )


@contextlib.contextmanager
def _bridge() -> Iterator[str]:
    """Make a bridge with a subnet that no route of this machine needs, and remove it at the end."""
    name, subnet = f"sam-{os.getpid()}", _free_subnet()
    _ip("link", "add", name, "type", "bridge")
    try:
        _ip("address", "add", f"{subnet[1]}/{subnet.prefixlen}", "dev", name)
        _ip("link", "set", name, "up")
        yield name
    finally:
        _ip("link", "delete", name)


def _free_subnet() -> IPv4Network:
    routes = json.loads(_ip("-json", "-4", "route", "show") or "[]")
    taken = [IPv4Network(route["dst"]) for route in routes if route["dst"] != "default"]
    start = os.getpid()  # two processes that start at the same time look in different places
    for number in range(start, start + 256):
        subnet = IPv4Network(f"172.30.{number % 256}.0/24")
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise LocalError("All of 172.30.0.0/16 is in use; start Docker yourself.")


def _ip(*arguments: str) -> str:
    result = subprocess.run(
        ["ip", *arguments],
        env=os.environ | {"PATH": _PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise LocalError(f"ip {' '.join(arguments)} failed: {result.stderr.strip()}")
    return result.stdout


def _start(folder: Path, bridge: str) -> subprocess.Popen[str]:
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [
                *("setpriv", "--pdeathsig=TERM", "dockerd"),
                *("--host", f"unix://{folder}/docker.sock", "--pidfile", f"{folder}/pid"),
                *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
                *("--bridge", bridge, "--iptables=false", "--ip6tables=false"),
                *("--ip-forward=false", "--ip-masq=false"),
                # Nothing answers there, so that look-ups of names fail at once.
                *("--dns", "127.0.0.1"),
            ],
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env=os.environ | {"PATH": _PATH},
            stdout=log,
            stderr=log,
        )


def _wait_until_ready(process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if docker.answers():
            return
        time.sleep(_POLL_SECONDS)
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    raise LocalError(f"No Docker daemon answers, and none can be started: {lines[-1]}")
