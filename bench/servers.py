"""Servers for tests and benchmark: Postgres over TCP, PgBouncer before it, and certificates."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import trustme

from local import postgres
from local.postgres import as_another_than_root, make_anew

USER, PASSWORD = "api", "correct horse battery staple"
QUOTED = PASSWORD.replace(" ", "%20")
_PORTS = range(12_000, 32_000)
_HBA = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


def free_port() -> int:
    """Return a port on loopback that was free a moment ago, and that no outgoing connection takes.

    The system gives connections ports above these, so a server can be started again on its own.
    """
    while True:
        port = random.choice(_PORTS)  # noqa: S311
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def until(is_true: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Wait for a condition that sends no event, and fail if it never comes true."""
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            raise AssertionError(f"the condition did not come true within {seconds} s")
        time.sleep(0.01)


class Postgres(postgres.Postgres):
    """The embedded Postgres on loopback. Over TCP it asks role `api` for its password by SCRAM."""

    def __init__(self, directory: Path) -> None:
        options = ("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
        super().__init__(directory / "data", port=free_port(), options=options, rules=_HBA)
        self.directory = self._socket_folder
        self.admin_url = self.url_for("postgres", "postgres")

    @property
    def url(self) -> str:
        """Return the connection string of role `api` over TCP."""
        return f"postgresql://{USER}:{QUOTED}@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Postgres:
        self.start()
        self.admin(
            "DROP DATABASE IF EXISTS tasks",  # it belongs to `make run`; tests make their own
            f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'",
            f"GRANT CREATE ON SCHEMA public TO {USER}",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")

    def start(self, *, standby: bool = False) -> None:
        """Start it, also after a crash; as a standby it refuses writes until `promote`."""
        if standby:
            (self._data / "standby.signal").touch()
        super().start()

    def promote(self) -> None:
        """Make the standby a primary, which accepts writes."""
        self._pg_ctl("promote", "--wait")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` ends the sessions first, `immediate` is a crash."""
        if mode == "immediate" and self._has_server():
            self._pg_ctl("stop", "--mode=immediate", "--wait")
        super().stop()

    def admin(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements as superuser, not through the pooler; return the rows of the last one."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def sessions(self, *states: str) -> int:
        """Return the number of sessions of role `api` in these states, or in any state."""
        rows = self.admin(f"SELECT state FROM pg_stat_activity WHERE usename = '{USER}'")
        return sum(not states or row[0] in states for row in rows)

    def terminate(self) -> int:
        """Kill the backends of role `api`, wait until they are gone, and return their number."""
        query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'"
        count = len(self.admin(query))
        until(lambda: self.sessions() == 0)
        return count


def pgbouncer_program() -> str | None:
    """Return PgBouncer's program, from PGBOUNCER or from the PATH."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    return os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=search)


def pgbouncer_version() -> tuple[int, ...]:
    """Return PgBouncer's version. 1.21 has prepared statements, and 1.25 direct TLS."""
    program = pgbouncer_program()
    if program is None:
        return ()
    text = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    found = re.search(r"PgBouncer (\d+)\.(\d+)", text.stdout)
    return tuple(int(number) for number in found.groups()) if found else ()


def _as_another_than_root() -> list[str]:
    """Return the command that starts PgBouncer as root, in folders that only root may enter."""
    switch = as_another_than_root()[:4]
    reach = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
    return [*switch, *reach] if switch else []


class PgBouncer:
    """PgBouncer in transaction mode, by default with a pool of one server connection."""

    def __init__(
        self,
        directory: Path,
        server: Postgres,
        *,
        certificate: Certificate | None = None,
        **settings: object,
    ) -> None:
        make_anew(directory)
        self.directory = directory
        self.port = free_port()
        self._postgres = server
        self._certificate = certificate
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, host: str = "127.0.0.1", parameters: str = "") -> str:
        """Return the connection string of role `api` through this pooler."""
        return f"postgresql://{USER}:{QUOTED}@{host}:{self.port}/postgres{parameters}"

    def __enter__(self) -> PgBouncer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        program = pgbouncer_program()
        assert program is not None, "apt-get install pgbouncer"
        self._write_configuration()
        configuration = str(self.directory / "pgbouncer.ini")
        self._process = subprocess.Popen(
            [*_as_another_than_root(), program, "--quiet", configuration],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._accepts)

    def kill(self) -> None:
        """Kill it, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _write_configuration(self) -> None:
        settings: dict[str, object] = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": self.directory,
            "logfile": self.directory / "log",
            "auth_type": "scram-sha-256",
            "auth_file": self.directory / "users",
            "admin_users": USER,
            "pool_mode": "transaction",
            "default_pool_size": 1,
            "max_client_conn": 100,
            "server_login_retry": 1,
            "ignore_startup_parameters": "extra_float_digits",
        }
        if self._certificate:
            settings |= {
                "client_tls_sslmode": "require",
                "client_tls_key_file": self._certificate.key,
                "client_tls_cert_file": self._certificate.chain,
            }
        settings |= self._settings
        lines = [f"{name} = {value}" for name, value in settings.items()]
        database = f"* = host=127.0.0.1 port={self._postgres.port}"
        text = "\n".join(["[databases]", database, "[pgbouncer]", *lines, ""])
        (self.directory / "pgbouncer.ini").write_text(text)
        (self.directory / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
        (self.directory / "log").touch(mode=0o666)
        (self.directory / "log").chmod(0o666)


@dataclass(frozen=True)
class Certificate:
    """A server's key and certificate, as files."""

    key: Path
    chain: Path


class Authority:
    """A certificate authority for one test; `roots` is its own certificate, as a file."""

    def __init__(self, directory: Path, name: str = "Tests") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._authority = trustme.CA(organization_name=name)
        self.roots = directory / "roots.pem"
        self._authority.cert_pem.write_to_path(self.roots)

    def issue(self, host: str) -> Certificate:
        """Issue a certificate for the host; the account that runs the servers may read its key."""
        issued = self._authority.issue_cert(host)
        stem = self._directory / f"{len(list(self._directory.iterdir()))}"
        files = Certificate(stem.with_suffix(".key"), stem.with_suffix(".pem"))
        issued.private_key_pem.write_to_path(files.key)
        issued.cert_chain_pems[0].write_to_path(files.chain)
        files.key.chmod(0o644)
        return files
