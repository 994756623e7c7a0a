"""The databases that the contenders are measured on, with the product's schema and some tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psycopg

from tests.bench import filling
from tests.neon.servers import PASSWORD, QUOTED, Postgres

LOGIN = "task_login"  # as on Neon: it owns nothing, and may act as task_api
NAME = "tasks"
OTHERS = 1000  # tasks of other users beside those that are asked for

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
