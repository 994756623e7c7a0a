"""A Docker daemon: the one that already runs, or a private one.

The private daemon has its own data, socket and bridge, and does not touch the machine's firewall.
So its containers reach this machine and nothing else. It ends with the process that started it,
even if that is killed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

from local.errors import LocalError
from local.sam import docker

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.1
_BRIDGE = "sam-"  # then the owner's process id and a number; an interface has 15 letters at most
_FOLDER = "sam-docker-"  # the same, and then more letters
_number = itertools.count()

Progress = Callable[[str], None]


@contextlib.contextmanager
def docker_daemon(progress: Progress) -> Iterator[None]:
    """Use the daemon that answers, or start one and stop it at the end.

    Raises LocalError with what to install or start if there is none and none can be started.
    """
    if shutil.which("docker") and docker.answers():
        yield
        return
    _check_tools()
    progress("No Docker daemon answers; starting a private one ...")
    with private_daemon():
        yield


@contextlib.contextmanager
def private_daemon() -> Iterator[None]:
    """Start a daemon of our own, and end it with its containers, network and data.

    DOCKER_HOST names it until then. Raises LocalError with what is missing if none can be started.
    """
    _check_tools()
    _remove_orphans()
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        bridge = stack.enter_context(_bridge())
        stack.enter_context(_docker_host(f"unix://{folder}/docker.sock"))
        process = _start(folder, bridge)
        stack.callback(end, process, signal.SIGTERM)
        _wait_until_ready(process, folder / "log")
        stack.callback(_remove_all_containers)
        yield


@contextlib.contextmanager
def _docker_host(address: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ["DOCKER_HOST"] = address
    try:
        yield
    finally:
        os.environ.pop("DOCKER_HOST")
        os.environ.update({name: before[name] for name in ("DOCKER_HOST",) if name in before})


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal and wait; in the end kill the program and all that it started."""
    process.send_signal(number)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _check_tools() -> None:
    if sys.platform != "linux":
        raise LocalError("No Docker daemon answers; start Docker.")
    missing = [name for name in ("docker", "dockerd", "ip") if not _program(name)]
    if missing:
        raise LocalError(
            f"No Docker daemon answers, and {' and '.join(missing)} to start one is missing: start"
            " Docker, or (on Debian) apt-get install docker.io iproute2."
        )
    if os.geteuid() != 0:
        raise LocalError("No Docker daemon answers, and only root can start one; start Docker.")


def _program(name: str) -> str:
    """Return the path of an administrator's program, whose folder may not be in the PATH."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return shutil.which(name, path=path) or ""


@contextlib.contextmanager
def _bridge() -> Iterator[str]:
    """Make a bridge with a subnet that no route of this machine needs, and remove it at the end."""
    name, subnet = f"{_BRIDGE}{os.getpid()}-{next(_number)}", _free_subnet()
    _ip("link", "add", name, "type", "bridge")
    try:
        _ip("address", "add", f"{subnet[1]}/{subnet.prefixlen}", "dev", name)
        _ip("link", "set", name, "up")
        yield name
    finally:
        _ip("link", "delete", name)


def _remove_orphans() -> None:
    """Remove what a killed process has left behind."""
    for link in json.loads(_ip("-json", "link", "show", "type", "bridge") or "[]"):
        if _is_orphan(link.get("ifname", ""), _BRIDGE):
            _ip("link", "delete", link["ifname"])
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        if _is_orphan(folder.name, _FOLDER):
            shutil.rmtree(folder, ignore_errors=True)


def _is_orphan(name: str, prefix: str) -> bool:
    owner = re.match(f"{prefix}([0-9]+)(-|$)", name)
    return owner is not None and not Path("/proc", owner[1]).exists()


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
        [_program("ip"), *arguments], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise LocalError(f"ip {' '.join(arguments)} failed: {result.stderr.strip()}")
    return result.stdout


def _start(folder: Path, bridge: str) -> subprocess.Popen[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [
                *("setpriv", "--pdeathsig=TERM", _program("dockerd")),
                *("--host", f"unix://{folder}/docker.sock", "--pidfile", f"{folder}/pid"),
                *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
                *("--bridge", bridge, "--iptables=false", "--ip6tables=false"),
                *("--ip-forward=false", "--ip-masq=false"),
                *(
                    "--dns",
                    "127.0.0.1",
                ),  # nothing answers there, so name look-ups fail at once and not after a while
            ],
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env=os.environ | {"PATH": path},
            stdout=log,
            stderr=log,
        )


def _wait_until_ready(process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if docker.answers():
            return
        time.sleep(_POLL_SECONDS)
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    raise LocalError(f"No Docker daemon answers, and none can be started: {lines[-1]}")


def _remove_all_containers() -> None:
    containers = docker.ask("ps", "--all", "--quiet").split()
    if containers:
        docker.ask("rm", "--force", *containers)
