"""A write with an idempotency key loses its connection while it waits for a row."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from bench.proxy import Fault, Proxy
from bench.servers import USER, Postgres, until
from neon._connection import Connection
from tasks import database as tasks_database
from tasks import store
from tasks.idempotency import Preconditions
from tasks.models import TaskCreate
from tests.identity.conftest import migrate
from tests.neon.conftest import postgres as postgres
from tests.neon.conftest import through
from tests.tasks.conftest import forget

WAITING = f"SELECT pid FROM pg_stat_activity WHERE usename = '{USER}' AND wait_event_type = 'Lock'"


@pytest.fixture
def proxy(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Put a proxy in front of a migrated database that `tasks` uses."""
    postgres.admin(f"ALTER ROLE {USER} CREATEROLE")
    migrate(postgres.url)
    with Proxy(postgres.port) as between:
        monkeypatch.setenv("DATABASE_URL", through(between))
        monkeypatch.setenv("ALLOW_OWNER_LOGIN", "true")
        forget()
        yield between
        tasks_database.database().close()
        forget()


def test_a_write_with_a_key_never_meets_its_own_first_attempt(
    proxy: Proxy, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt holds the key and waits for the row, and cannot be told to stop."""
    user = str(uuid4())
    id_ = store.create(user, TaskCreate(title="a title")).task.id
    monkeypatch.setattr(Connection, "_cancel", lambda *_: None)
    lock = "SELECT FROM tasks WHERE id = %s FOR UPDATE"
    with psycopg.connect(postgres.admin_url) as other, ThreadPoolExecutor() as threads:
        other.execute(lock, (id_,))
        proxy.arm(Fault.CUT_SENT)
        running = threads.submit(store.toggle, user, id_, Preconditions(key=str(uuid4())))
        until(lambda: running.done() or len(postgres.admin(WAITING)) == 2)
        other.rollback()
        assert running.result().task.completed
    assert store.get(user, id_).completed
