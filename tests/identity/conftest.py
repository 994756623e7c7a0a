"""Postgres clusters like Neon's: the owner of the schema is no superuser.

They are not those of other tests, because a role belongs to the whole cluster, and it matters who
made it.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from local.postgres import BINARIES
from tests.functions.handlers import modules
from tests.running import ROOT

_runner = modules("migrate")["runner"]

_AS_OWNER = ("--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override")


def postgres_versions() -> list[Path]:
    """Return the folders of the embedded Postgres and of each version that Debian has installed."""
    return [BINARIES, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]


@dataclass(frozen=True)
class Cluster:
    """A cluster in a folder of its own, which everybody reaches over a Unix socket."""

    binaries: Path
    directory: Path

    @property
    def url(self) -> str:
        return self.url_for("postgres", "postgres")

    def url_for(self, user: str, database: str) -> str:
        """Return a role's connection string; no password is needed here."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.directory), safe='')}"

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), f"--pgdata={self.directory}/data", *arguments]
        if account := _account():
            user = (f"--reuid={account.pw_name}", f"--regid={account.pw_gid}")
            command = ["setpriv", *user, *_AS_OWNER, *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.directory)


@functools.cache
def _account() -> pwd.struct_passwd | None:
    """Return the account that runs Postgres in root's place, because Postgres refuses root."""
    if os.geteuid() != 0:
        return None
    names = {each.pw_name: each for each in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


@pytest.fixture(scope="session", params=postgres_versions(), ids=lambda path: path.parent.name)
def server(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Run each version of Postgres on this machine: version 16 changed the rights of roles."""
    directory = Path(tempfile.mkdtemp(prefix="pg-"))  # short, as sockets need
    cluster = Cluster(request.param, directory)
    if account := _account():
        os.chown(directory, account.pw_uid, account.pw_gid)
    try:
        cluster.run("initdb", "--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8")
        options = f"-c listen_addresses= -c fsync=off -k {directory}"
        cluster.run("pg_ctl", "start", "--wait", f"--options={options}", f"--log={directory}/log")
        yield cluster
        cluster.run("pg_ctl", "stop", "--wait", "--mode=immediate")
    finally:
        shutil.rmtree(directory)


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


@pytest.fixture(scope="session")
def urls(server: Cluster) -> dict[str, str]:
    """Return the URLs of one database for its owner, a login that can only act, and the superuser.

    The owner is no superuser, may make roles and bypasses row-level security, as on Neon.
    """
    execute(
        server.url,
        "CREATE ROLE shop_owner LOGIN CREATEROLE CREATEDB BYPASSRLS",
        "CREATE DATABASE shop OWNER shop_owner",
    )
    owner = server.url_for("shop_owner", "shop")
    migrate(owner)
    execute(owner, "CREATE ROLE shop_login LOGIN NOINHERIT IN ROLE task_api")
    users = {"owner": "shop_owner", "login": "shop_login", "superuser": "postgres"}
    return {name: server.url_for(user, "shop") for name, user in users.items()}
