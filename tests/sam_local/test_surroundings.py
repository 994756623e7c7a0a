"""Everything that is started around `sam local`, and that nothing of it is left behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from local.errors import LocalError
from local.sam.commands import IMAGE, _database
from local.sam.docker import Bridge, Docker
from local.sam.relay import reachable
from local.settings import read_settings
from tests.running import ROOT
from tests.sam_local import daemon
from tests.sam_local.image import image_options

_OWNER = """
import sys
from tests.sam_local.daemon import private_daemon
with private_daemon() as docker:
    print(docker.environ["DOCKER_HOST"].removeprefix("unix://"), flush=True)
    sys.stdin.read()
"""


_STARTER = """
import sys
from pathlib import Path
from local.postgres import Postgres
server = Postgres(Path(sys.argv[1]))
server.start()
print("started", flush=True)
sys.stdin.read()
"""


class FakeDocker(Docker):
    """A Docker that answers as it is told to and records its commands."""

    def __init__(self, *good: str) -> None:
        super().__init__({})
        object.__setattr__(self, "asked", [])
        object.__setattr__(self, "good", good)

    def succeeds(self, *arguments: str) -> bool:
        """Return whether the command with this first argument is told to succeed."""
        self.asked.append(arguments)  # type: ignore[attr-defined]
        return arguments[0] in self.good  # type: ignore[attr-defined]


@pytest.mark.parametrize("good", ["image", "pull"])
def test_nothing_stands_in_for_an_image_that_is_here_or_can_be_pulled(good: str) -> None:
    docker = FakeDocker(good)
    assert image_options(docker, Path("/nowhere"), print) == []
    assert all(IMAGE in asked for asked in docker.asked)  # type: ignore[attr-defined]


def test_what_is_missing_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Docker, "answers", lambda _: False)
    with pytest.raises(LocalError, match=r"^No Docker daemon answers: start Docker"):
        Docker().check()
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(LocalError, match=r"apt-get install docker\.io"):
        Docker().check()
    with (
        pytest.raises(LocalError, match=r"apt-get install docker\.io iproute2"),
        daemon.docker_daemon(print),
    ):
        pass
    assert capsys.readouterr().out == ""  # it does not announce a start


def test_the_relay_lets_nobody_in_but_containers() -> None:
    everybody = IPv4Network("127.0.0.0/8")
    with _greeter() as url:
        forwarding = Bridge("host-gateway", "127.0.0.1", everybody)
        with reachable(url, forwarding) as (relayed, options):
            assert options == ["--add-host", "localhost:host-gateway"]
            assert _first_bytes(relayed) == b"hello"
        own_address = Bridge("127.0.0.1", "127.0.0.1", everybody)
        with reachable(url, own_address) as (relayed, _):
            assert _first_bytes(relayed) == b""
        other_network = Bridge("127.0.0.9", "127.0.0.1", IPv4Network("172.30.0.0/24"))
        with reachable(url, other_network) as (relayed, _):
            assert _first_bytes(relayed) == b""


def test_a_database_elsewhere_is_left_alone() -> None:
    url = "postgresql://u:p@ep-x.eu-central-1.aws.neon.tech/db?sslmode=require"
    bridge = Bridge("172.30.0.1", "172.30.0.1", IPv4Network("172.30.0.0/24"))
    with reachable(url, bridge) as (same, options):
        assert (same, options) == (url, [])


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


def test_a_database_that_a_killed_process_left_running_is_taken_over_and_stopped(
    tmp_path: Path,
) -> None:
    (tmp_path / "template.yaml").touch()
    settings = read_settings(tmp_path, {})
    data = settings.state / "postgres"
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER, data],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "started\n"
        with _database(settings, print) as postgres:
            pass  # somebody uses it
        assert postgres is not None
        assert postgres.is_running()
        owner.kill()
    with _database(settings, print) as postgres:
        pass
    assert postgres is not None
    assert not postgres.is_running()


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


def _first_bytes(url: str) -> bytes:
    port = urlsplit(url).port
    assert port
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        return client.recv(5)
