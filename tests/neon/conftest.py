"""What the tests of `neon` share: servers, certificates, and databases that get closed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from bench import servers
from bench.proxy import Proxy
from bench.servers import Authority, PgBouncer, Postgres
from neon import Database
from neon._connect import Connector

_SEND_BUFFER_BYTES = 46_000
HOST = "ep-cool-lake-123456-pooler.eu-central-1.aws.neon.tech"


def need(is_there: object, reason: str) -> None:
    """Skip the test with the reason, or fail if REQUIRE_ALL=1 allows no skips."""
    if is_there:
        return
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def need_pgbouncer(*version: int) -> None:
    """Skip the test if PgBouncer is missing or older than this version."""
    have = servers.pgbouncer_version()
    need(have, "PgBouncer is missing: apt-get install pgbouncer")
    wanted = ".".join(map(str, version))
    need(have >= version, f"PgBouncer {wanted} is needed; PGBOUNCER can name its program")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(_open_to_all(tmp_path_factory.mktemp("pg"))) as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(_open_to_all(tmp_path_factory.mktemp("certificates")))


@pytest.fixture
def new_pooler(postgres: Postgres, tmp_path: Path) -> Iterator[Callable[..., PgBouncer]]:
    """Return a function that starts a PgBouncer with settings of its own."""
    need_pgbouncer(1)
    _open_to_all(tmp_path)
    with ExitStack() as stack:

        def start(**settings: Any) -> PgBouncer:
            directory = tmp_path / f"pooler{len(list(tmp_path.iterdir()))}"
            return stack.enter_context(PgBouncer(directory, postgres, **settings))

        yield start


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    """Run the proxy that makes faults, directly in front of Postgres."""
    with Proxy(postgres.port) as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[..., Database]]:
    """Return a function that makes databases, which are closed after the test."""
    with ExitStack() as stack:

        def new(url: str | Callable[[float], str], **options: Any) -> Database:
            database = Database(url, **options)
            stack.callback(database.close)
            return database

        yield new


@pytest.fixture
def table(postgres: Postgres) -> Iterator[str]:
    """Make an empty table of operations. Its constraint covers only the repeatable ones."""
    postgres.admin(
        "CREATE TABLE hits (op text, repeatable bool NOT NULL DEFAULT false)",
        "CREATE UNIQUE INDEX ON hits (op) WHERE repeatable",
        f"GRANT ALL ON hits TO {servers.USER}",
    )
    yield "hits"
    # End every session that still holds a lock.
    postgres.terminate()
    postgres.admin("DROP TABLE hits")


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that makes every host name resolve to some addresses.

    It returns the list of the names that are looked up from then on.
    """
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve_to(*found: str) -> list[str]:
        def getaddrinfo(host: str | bytes, port: int, *rest: Any, **named: Any) -> list[Any]:
            name = host.decode() if isinstance(host, bytes) else host
            if name[-1].isdigit():
                return real(host, port, *rest, **named)
            asked.append(name)
            return [_entry(each, port) for each in found]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return resolve_to


@contextmanager
def holding(url: str, sql: LiteralString) -> Iterator[None]:
    """Keep a transaction open that has run the statement, and roll it back at the end."""
    with psycopg.connect(url) as connection:
        connection.execute(sql)
        yield
        connection.rollback()


@contextmanager
def small_send_buffers() -> Iterator[None]:
    """Give each new connection a send buffer that is too small for long writes."""
    real = Connector.open

    def opened(self: Connector, end: float) -> object:
        pgconn = real(self, end)
        with socket.socket(fileno=socket.dup(pgconn.socket)) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        return pgconn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connector, "open", opened)
        yield


def through(proxy: Proxy, parameters: str = "") -> str:
    """Return the connection string of role `api` through the proxy."""
    return (
        f"postgresql://{servers.USER}:{servers.QUOTED}@127.0.0.1:{proxy.port}/postgres{parameters}"
    )


def verified(authority: Authority) -> str:
    """Return the parameters that trust the test's authority and no other."""
    return f"?sslmode=verify-full&sslrootcert={authority.roots}"


def _entry(address: str, port: int) -> tuple[Any, ...]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.SOCK_STREAM, 6, "", (address, port)


def _open_to_all(directory: Path) -> Path:
    """Open pytest's private folders to the other account that runs the servers."""
    for each in (directory, *directory.parents):
        if each.owner() == "root" and not each.stat().st_mode & 0o001:
            each.chmod(each.stat().st_mode | 0o011)
    return directory
