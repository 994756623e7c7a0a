"""The databases that the contenders are measured on, with the product's schema and some tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

from tests.bench import filling
from tests.bench.side_by_side.relay import Relay
from tests.neon import servers
from tests.neon.servers import PASSWORD, QUOTED, Authority, PgBouncer, Postgres

LOGIN = "task_login"  # as on Neon: it owns nothing, and may act as task_api
NAME = "tasks"
OTHERS = 1000  # tasks of other users beside those that are asked for
POOL = 10  # server connections of PgBouncer
LATENCIES = (5, 20)  # milliseconds of a round trip
_PREPARED = (1, 21)  # the first PgBouncer with prepared statements, which Neon's has

_LOGIN = f"CREATE ROLE {LOGIN} LOGIN NOINHERIT PASSWORD '{PASSWORD}' IN ROLE task_api"
_OF_ONE_USER = """
INSERT INTO tasks (user_id, id, title, description, created_at, updated_at)
SELECT %(user)s,
       (lpad(to_hex(1795000000000 + %(first)s + n), 12, '0') || '7000a000'
        || lpad(to_hex(%(first)s + n), 12, '0'))::uuid,
       'Task number ' || n, 'It is described in one line of fifty characters: ' || n,
       timestamptz '2026-11-21' + n * interval '1 second',
       timestamptz '2026-11-21' + n * interval '1 second'
FROM generate_series(1, %(count)s) AS n
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the database: its connection string, the milliseconds of a round trip on it, and
    how many of them there were so far, where somebody counts."""

    title: str
    url: str
    latency: float = 0.0
    round_trips: Callable[[], int] | None = None


class Backend:
    """A Postgres on loopback with the product's schema; everything else reaches it through this."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self._first = 0

    def url(self, database: str = NAME, port: int | None = None) -> str:
        """The connection string of the API's login, over TCP with a password."""
        place = f"127.0.0.1:{port or self.server.port}"
        return f"postgresql://{LOGIN}:{QUOTED}@{place}/{database}?sslmode=disable"

    def owner_url(self, database: str = NAME) -> str:
        """The connection string of the superuser, over the Unix socket."""
        return self.server.admin_url.replace("@/postgres?", f"@/{database}?")

    def add_tasks(self, user: str, count: int, database: str = NAME) -> list[UUID]:
        """Give a user so many more tasks; their ids."""
        values = {"user": user, "count": count, "first": self._first}
        self._first += count
        with psycopg.connect(self.owner_url(database), autocommit=True) as connection:
            return [row[0] for row in connection.execute(_OF_ONE_USER, values)]

    def settle(self, database: str = NAME) -> None:
        """Have what was filled counted, and nothing left to be cleaned up later."""
        with psycopg.connect(self.owner_url(database), autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE) tasks")
            connection.execute("CHECKPOINT")


@contextmanager
def local_postgres(folder: Path) -> Iterator[Backend]:
    """A new server with the schema, the API's login, and tasks of many users."""
    with Postgres(filling.folder_for_servers(folder)) as server:
        # Whoever is measured while a cleaner or a checkpoint runs would have bad luck.
        server.admin("ALTER SYSTEM SET autovacuum = off")
        server.admin("ALTER SYSTEM SET max_wal_size = '8GB'")
        server.admin("SELECT pg_reload_conf()")
        filling.new_database(server, NAME)
        server.admin(_LOGIN)
        backend = Backend(server)
        for number in range(OTHERS // 100):
            backend.add_tasks(f"somebody-{number}", 100)
        backend.settle()
        yield backend


@contextmanager
def ways(backend: Backend, folder: Path, say: Callable[[str], None]) -> Iterator[Mapping[str, Way]]:
    """All ways to a database: straight, and as Neon is, through PgBouncer with TLS, near and far.

    Without a PgBouncer there is the first one only, and that is said.
    """
    found = {"local": Way("Postgres on this machine", backend.url())}
    if servers.pgbouncer_version() < _PREPARED:
        say(
            "no PgBouncer of 1.21 or newer (PGBOUNCER can name one): nothing is measured through it"
        )
        yield found
        return
    with ExitStack() as stack:
        authority = Authority(folder / "certificates")
        pooler = stack.enter_context(_pooler(backend, folder, authority))
        url = _verified(pooler.port, authority)
        found["pooler"] = Way("PgBouncer and TLS", url)
        for latency in LATENCIES:
            relay = stack.enter_context(Relay(pooler.port, latency))
            title = f"PgBouncer and TLS, {latency} ms away"
            url = _verified(relay.port, authority)
            found[f"pooler-{latency}ms"] = Way(title, url, latency, relay.round_trips)
        yield found


def _pooler(backend: Backend, folder: Path, authority: Authority) -> PgBouncer:
    certificate = authority.issue("localhost")
    certificate.key.chmod(0o644)  # the server runs as another account
    users = folder / "users"
    users.write_text(f'"{LOGIN}" "{PASSWORD}"\n')
    return PgBouncer(
        folder / "pooler",
        backend.server,
        certificate=certificate,
        auth_file=users,
        default_pool_size=POOL,
        max_prepared_statements=1000,
    )


def _verified(port: int, authority: Authority) -> str:
    """Neon's connection string, with the authority of the run in place of a public one."""
    parameters = f"sslmode=verify-full&sslrootcert={authority.roots}"
    return f"postgresql://{LOGIN}:{QUOTED}@localhost:{port}/{NAME}?{parameters}"
