"""A write loses its connection after it was sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from uuid import uuid4

import psycopg
import pytest

import neon
from bench.proxy import Fault, Proxy
from bench.servers import USER, Postgres, until
from neon._connection import Connection
from tasks import batch, store
from tasks import database as tasks_database
from tasks.batch import Batch
from tasks.database import lock_number
from tasks.errors import KeyInUseError
from tasks.idempotency import Preconditions
from tasks.models import TaskCreate
from tasks.paging import PageRequest
from tests.identity.conftest import migrate
from tests.neon.conftest import postgres as postgres
from tests.neon.conftest import through
from tests.tasks.conftest import forget

ADVISORY = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
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
    id_ = store.create(user, TaskCreate(title="a title")).value.id
    monkeypatch.setattr(Connection, "_cancel", lambda *_: None)
    lock = "SELECT FROM tasks WHERE id = %s FOR UPDATE"
    with psycopg.connect(postgres.admin_url) as other, ThreadPoolExecutor() as threads:
        other.execute(lock, (id_,))
        proxy.arm(Fault.CUT_SENT)
        running = threads.submit(store.toggle, user, id_, Preconditions(key=str(uuid4())))
        until(lambda: running.done() or len(postgres.admin(WAITING)) == 2)
        other.rollback()
        assert running.result().value.completed
    assert store.get(user, id_).completed


def test_a_write_that_is_sent_again_waits_for_the_lock_of_its_key(
    proxy: Proxy, postgres: Postgres
) -> None:
    """Postgres releases the locks of the first attempt one after the other, the key's at last."""
    user, once = str(uuid4()), Preconditions(key="one")
    id_ = store.create(user, TaskCreate(title="a title")).value.id
    lock = lock_number(user, f"toggle {id_}", "one")
    with psycopg.connect(postgres.admin_url) as first, ThreadPoolExecutor() as threads:
        first.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
        with pytest.raises(KeyInUseError):
            store.toggle(user, id_, once)
        proxy.arm(Fault.CUT_ANSWERED)
        running = threads.submit(store.toggle, user, id_, once)
        until(lambda: running.done() or len(postgres.admin(ADVISORY)) == 1)
        first.rollback()
        assert running.result().value.completed


@pytest.mark.parametrize("fault", [each for each in Fault if each is not Fault.BLACK_HOLE])
@pytest.mark.parametrize("key", [None, "one"])
def test_a_batch_is_done_as_a_whole_and_once_wherever_its_connection_is_cut(
    proxy: Proxy, fault: Fault, key: str | None
) -> None:
    """Without a key, a batch that was sent may be done or not, and the error says so."""
    user = str(uuid4())
    one, two = (store.create(user, TaskCreate(title=title)).value for title in ("one", "two"))
    wanted = Batch.model_validate(
        {
            "operations": [
                {"op": "create", "task": {"title": "three"}},
                {"op": "toggle", "id": one.id},
                {"op": "delete", "id": two.id},
            ]
        }
    )
    proxy.arm(fault)
    with nullcontext() if key else pytest.raises(neon.OutcomeUnknownError):
        batch.run(user, wanted, [None] * 3, key)
    shown = [(t.title, t.completed) for t in store.list_page(user, PageRequest()).tasks]
    before, after = [("one", False), ("two", False)], [("one", True), ("three", False)]
    assert shown == after or (key is None and shown == before)
    if key:
        assert batch.run(user, wanted, [None] * 3, key).replayed


@pytest.mark.parametrize("once", [Preconditions(), Preconditions(key="one")], ids=str)
def test_a_create_is_sent_again_only_with_a_key(proxy: Proxy, once: Preconditions) -> None:
    user = str(uuid4())
    store.list_page(user, PageRequest())  # opens the connection
    proxy.arm(Fault.CUT_ANSWERED)
    with nullcontext() if once.key else pytest.raises(neon.OutcomeUnknownError):
        store.create(user, TaskCreate(title="a title"), once)
    assert len(store.list_page(user, PageRequest()).tasks) == 1
