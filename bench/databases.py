"""The databases that the contenders are measured on: Postgres with both schemas and some tasks.

Ours has the product's schema. The rivals have a database and a schema of their own, on the same
server, so that no migration of the product touches them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg

from bench import servers
from bench.contenders import OURS, ROOT, run
from bench.proxy import Proxy
from bench.servers import PASSWORD, QUOTED, Authority, PgBouncer, Postgres

PRODUCT, RIVALS = "product", "rivals"
FAR = "far"
LATENCY = 20  # milliseconds of a round trip
PREPARED = (1, 21)  # the first PgBouncer with prepared statements, which Neon's has

_SCHEMA = Path(__file__).parent / "rivals" / "schema.sql"
# As on Neon: a login owns nothing, and may act as the role that the policies are for.
_LOGINS = {PRODUCT: ("task_login", "task_api"), RIVALS: ("rival_login", "rival_api")}
_OF_ONE_USER = """
INSERT INTO tasks (user_id, id, title, description, created_at, updated_at)
SELECT %(user)s,
       (lpad(to_hex(1795000000000 + %(first)s + n), 12, '0') || '7000a000'
        || lpad(to_hex(%(first)s + n), 12, '0'))::uuid,
       'Task number ' || n, 'It is described in one line of fifty characters: ' || n,
       timestamptz '2026-11-21' + n * interval '1 second',
       timestamptz '2026-11-21' + n * interval '1 second'
FROM generate_series(1, %(count)s) AS n
RETURNING id::text
"""


class Way(NamedTuple):
    """A way to the server: its place in connection strings, the milliseconds of a round trip, and
    the round trips so far where a proxy counts them."""

    title: str
    port: int
    host: str = "127.0.0.1"
    parameters: str = "sslmode=disable"
    latency: float = 0.0
    round_trips: Callable[[], int] = int

    def url(self, contender: str) -> str:
        """Return the connection string of a contender's login to its database."""
        database = database_of(contender)
        login = f"{_LOGINS[database][0]}:{QUOTED}"
        return f"postgresql://{login}@{self.host}:{self.port}/{database}?{self.parameters}"


def database_of(contender: str) -> str:
    """Return the name of the database that a contender uses."""
    return PRODUCT if contender == OURS else RIVALS


class Databases:
    """A Postgres on loopback with both databases."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.local = Way("Postgres on this machine", server.port)
        self._first = 0
        self._tasks: dict[tuple[str, str], list[str]] = {}

    def owner(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """Connect as the superuser, over the Unix socket."""
        return psycopg.connect(self.server.admin_url, dbname=database, autocommit=True)

    def add_tasks(self, database: str, user: str, count: int) -> list[str]:
        """Give a user so many more tasks, and return their ids."""
        values = {"user": user, "count": count, "first": self._first}
        self._first += count
        with self.owner(database) as connection:
            return [str(row[0]) for row in connection.execute(_OF_ONE_USER, values)]

    def tasks(self, database: str, user: str, count: int) -> list[str]:
        """Return the ids of a user's tasks, which are made when the user is new."""
        key = (database, user)
        if key not in self._tasks:
            self._tasks[key] = self.add_tasks(database, user, count)
        return self._tasks[key]

    def settle(self) -> None:
        """Have everything analysed, and nothing left to clean up later."""
        for database in _LOGINS:
            with self.owner(database) as connection:
                connection.execute("VACUUM (ANALYZE) tasks")
                connection.execute("CHECKPOINT")


def new_database(server: Postgres, name: str) -> str:
    """Make a database with the product's schema and return its superuser's connection string."""
    server.admin(f"CREATE DATABASE {name}")
    url = server.admin_url.replace("/postgres?", f"/{name}?")
    path = ":".join(str(ROOT / each) for each in ("layers/shared", "functions/migrate"))
    run([sys.executable, "-m", "deploy.migrate"], DATABASE_URL=url, PYTHONPATH=path)
    return url


@contextmanager
def started(folder: Path) -> Iterator[Databases]:
    """Start a server with both databases and their logins."""
    folder.chmod(0o755)  # the server runs as another account
    with Postgres(folder / "postgres") as server:
        # A cleaner or a checkpoint would disturb one contender and not the others.
        server.admin(
            "ALTER SYSTEM SET autovacuum = off",
            "ALTER SYSTEM SET max_wal_size = '8GB'",
            "SELECT pg_reload_conf()",
        )
        databases = Databases(server)
        new_database(server, PRODUCT)
        server.admin(f"CREATE DATABASE {RIVALS}")
        with databases.owner(RIVALS) as connection:
            connection.execute(_SCHEMA.read_bytes())
        for database, (login, role) in _LOGINS.items():
            server.admin(
                f"CREATE ROLE {login} LOGIN NOINHERIT PASSWORD '{PASSWORD}' IN ROLE {role}"
            )
            for number in range(10):  # tasks of other users beside those that are asked for
                databases.add_tasks(database, f"somebody-{number}", 100)
        yield databases


def has_pooler() -> bool:
    """Tell whether there is a PgBouncer with prepared statements, which Neon's has."""
    return servers.pgbouncer_version() >= PREPARED


@contextmanager
def pooled(databases: Databases, folder: Path, size: int) -> Iterator[Way]:
    """Start a PgBouncer with TLS and so many server connections, as Neon has one."""
    authority = Authority(folder / "certificates")
    certificate = authority.issue("localhost")
    users = folder / "users"
    users.write_text("".join(f'"{login}" "{PASSWORD}"\n' for login, _ in _LOGINS.values()))
    pooler = PgBouncer(
        folder / "pooler",
        databases.server,
        certificate=certificate,
        auth_file=users,
        default_pool_size=size,
        max_prepared_statements=1000,
    )
    with pooler:
        # Neon's parameters, with the authority of this run in place of a public one.
        tls = f"sslmode=verify-full&sslrootcert={authority.roots}&channel_binding=prefer"
        yield Way("PgBouncer and TLS", pooler.port, "localhost", tls)


@contextmanager
def ways(databases: Databases, folder: Path) -> Iterator[dict[str, Way]]:
    """Open the ways to the server: near and straight, and far by PgBouncer and TLS, as to Neon.

    Without a PgBouncer there is only the first.
    """
    found = {"near": databases.local}
    with ExitStack() as stack:
        if has_pooler():
            pooler = stack.enter_context(pooled(databases, folder, 10))
            proxy = stack.enter_context(Proxy(pooler.port, latency=LATENCY / 2000))
            found[FAR] = pooler._replace(
                title=f"{pooler.title}, {LATENCY} ms away",
                port=proxy.port,
                latency=LATENCY,
                round_trips=partial(getattr, proxy, "round_trips"),
            )
        yield found
