"""`make psql` and `make reset`, while an API runs and while none does."""

import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psycopg
import pytest

from local.database import check_database, place_of
from local.postgres import Postgres
from local.settings import Settings
from tests.local.toy import add_database, command, environment
from tests.running import start, stop, until_ready

COUNT = "SELECT 'tasks: ' || count(*) FROM kept"


@pytest.fixture
def database(folder: Path) -> Path:
    """Return a checkout whose embedded database has a table with one row."""
    with Postgres(folder / ".local/postgres") as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1")
    return folder


@pytest.fixture
def in_use(database: Path) -> Iterator[Path]:
    """Return the same, while an API uses the database."""
    add_database(database)
    process = start(environment({}), cwd=database)
    until_ready(process)
    yield database
    stop(process)


def psql(folder: Path, query: str) -> "subprocess.CompletedProcess[str]":
    return command(folder, "local", "psql", stdin=query)


def test_psql_opens_the_database_of_a_stopped_api_and_stops_it_again(database: Path) -> None:
    done = psql(database, COUNT)
    assert (done.returncode, "tasks: 1" in done.stdout) == (0, True), done.stderr
    assert not Postgres(database / ".local/postgres").is_running()


@pytest.mark.parametrize(("said", "is_there"), [("y\n", False), ("", True)])
def test_reset_deletes_the_database_once_a_person_agrees(
    database: Path, said: str, is_there: bool
) -> None:
    done = command(database, "local", "reset", stdin=said)
    assert done.returncode == is_there
    assert len(done.stderr.splitlines()) == is_there
    assert Postgres(database / ".local/postgres").exists() is is_there
    for _ in range(2):  # it asks nobody; the second run finds nothing, which is no error
        assert command(database, "local", "reset", YES="1").returncode == 0


def test_a_running_api_lets_psql_in_and_its_database_is_not_reset(in_use: Path) -> None:
    done = command(in_use, "local", "reset", YES="1")
    assert done.returncode == 1
    assert "is in use by process" in done.stderr
    assert "tasks: 1" in psql(in_use, COUNT).stdout
    assert Postgres(in_use / ".local/postgres").is_running()


def test_another_database_is_never_emptied(database: Path) -> None:
    done = command(database, "local", "reset", YES="1", DATABASE_URL="postgresql://a@127.0.0.1:1/b")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("DATABASE_URL names another database")


def test_no_part_of_a_password_is_taken_for_the_databases_place() -> None:
    assert place_of("postgresql://u:1@hunter2@h/b") == "the one in DATABASE_URL"
    assert place_of("postgresql://u:1@h/b") == "b on h"


def test_our_own_schema_is_known_to_a_login_without_rights(
    new_database: Callable[[], str], postgres: Postgres
) -> None:
    url = new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE schema_migrations (checksum text)")
        connection.execute("CREATE TABLE tasks ()")
        connection.execute("CREATE ROLE without_rights LOGIN")
        login = postgres.url_for("without_rights", connection.info.dbname)
        try:
            check_database(cast("Settings", SimpleNamespace(database_url=login, environ={})))
        finally:
            connection.execute("DROP ROLE without_rights")


def test_the_look_into_anothers_database_sends_nothing_before_tls() -> None:
    """127.0.0.2 stands for another machine; its server answers that it has no TLS."""
    with socket.create_server(("127.0.0.2", 0)) as server, ThreadPoolExecutor() as threads:
        url = f"postgresql://u:secret@127.0.0.2:{server.getsockname()[1]}/shop"
        settings = cast("Settings", SimpleNamespace(database_url=url, environ={}))
        looking = threads.submit(check_database, settings)
        client, _ = server.accept()
        with client:
            assert client.recv(8) == struct.pack("!ii", 8, 80877103)  # SSLRequest
            client.sendall(b"N")
            assert client.recv(1) == b""
        looking.result()
