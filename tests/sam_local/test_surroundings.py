"""Everything that is started around `sam local`, and that nothing of it is left behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from local.errors import LocalError
from local.sam import commands, docker
from local.sam.commands import IMAGE
from local.sam.relay import reachable
from tests.running import ROOT
from tests.sam_local import daemon
from tests.sam_local.image import image_options

pytestmark = pytest.mark.campaign

_OWNER = """
import os, sys
from tests.sam_local.daemon import private_daemon
with private_daemon():
    print(os.environ["DOCKER_HOST"].removeprefix("unix://"), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("good", ["image", "pull"])
def test_nothing_stands_in_for_an_image_that_is_here_or_can_be_pulled(
    good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def succeeds(*arguments: str) -> bool:
        assert IMAGE in arguments
        return arguments[0] == good

    monkeypatch.setattr(docker, "succeeds", succeeds)
    assert image_options(Path("/nowhere"), print) == []


def test_what_is_missing_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docker, "answers", lambda: False)
    with pytest.raises(LocalError, match=r"^No Docker daemon answers: start Docker"):
        docker.check()
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(LocalError, match=r"apt-get install docker\.io"):
        docker.check()
    with (
        pytest.raises(LocalError, match=r"apt-get install docker\.io iproute2"),
        daemon.docker_daemon(print),
    ):
        pass
    assert capsys.readouterr().out == ""  # it does not announce a start


def test_a_daemon_that_hangs_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "docker"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(docker, "_ANSWER_SECONDS", 0.2)
    with pytest.raises(LocalError, match=r"^No Docker daemon answers"):
        docker.check()


def test_containers_of_others_stay_when_there_is_no_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "ask", lambda *_: pytest.fail("it asked for all containers"))
    commands._remove_containers(tmp_path)


def test_the_relay_lets_nobody_in_but_containers() -> None:
    with _greeter() as url:
        with reachable(url, docker.DESKTOP) as relayed:
            assert _first_bytes(relayed) == b"hello"
        with reachable(url, IPv4Interface("127.0.0.1/16")) as relayed:
            assert _first_bytes(relayed) == b""  # from the bridge's own address
            assert _first_bytes(relayed, source="127.0.0.9") == b"hello"
            assert _first_bytes(relayed, source="127.1.0.9") == b""  # from another network


def test_a_database_elsewhere_is_left_alone() -> None:
    url = "postgresql://u:p@ep-x.eu-central-1.aws.neon.tech/db?sslmode=require"
    with reachable(url, IPv4Interface("172.30.0.1/24")) as same:
        assert same == url


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_private_daemon_ends_with_its_owner_however_that_ends(number: signal.Signals) -> None:
    _skip_without_daemon()
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert owner.stdout is not None
    path = Path(owner.stdout.readline().strip())
    processes = psutil.Process(owner.pid).children(recursive=True)
    assert {process.name() for process in processes} >= {"dockerd", "containerd"}
    owner.send_signal(number)
    owner.communicate(timeout=60)
    assert psutil.wait_procs(processes, timeout=60)[1] == []
    if number == signal.SIGKILL:  # the owner could not tidy up, so the next one does
        with daemon.private_daemon():
            pass
    interfaces = os.listdir("/sys/class/net")
    assert not [name for name in interfaces if name.startswith(f"sam-{owner.pid}-")]
    assert not path.parent.exists()


def _skip_without_daemon() -> None:
    try:
        with daemon.private_daemon():
            pass
    except LocalError as error:
        pytest.skip(str(error))


@contextmanager
def _greeter() -> Iterator[str]:
    """Run a server that says hello, at the address of a database."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = "import socket, sys\nserver = socket.socket(fileno=int(sys.argv[1]))\n"
        code += "while True:\n    server.accept()[0].sendall(b'hello')\n"
        descriptor = server.fileno()
        command = [sys.executable, "-c", code, str(descriptor)]
        with subprocess.Popen(command, pass_fds=[descriptor]) as process:
            yield f"postgresql://u@127.0.0.1:{server.getsockname()[1]}/db"
            process.kill()


def _first_bytes(url: str, source: str = "127.0.0.1") -> bytes:
    address = ("127.0.0.1", urlsplit(url).port)
    with socket.create_connection(address, timeout=20, source_address=(source, 0)) as client:
        return client.recv(5)
