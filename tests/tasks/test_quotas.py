"""How many tasks and idempotency keys a user may have, and that the limit costs little."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

import neon
from tasks import store
from tasks.errors import QuotaExceededError
from tasks.idempotency import Preconditions
from tasks.models import TaskCreate, TaskUpdate
from tests.identity.conftest import execute
from tests.tasks.conftest import CLIENTS, Configure

_NEW = TaskCreate(title="one more")


def key(name: str = "") -> Preconditions:
    return Preconditions(key=name or str(uuid4()))


def count(url: str, table: str, user: str) -> int:
    ((found,),) = execute(url, f"SELECT count(*)::int FROM {table} WHERE user_id = '{user}'")
    assert isinstance(found, int)
    return found


def fill(url: str, user: str, number: int) -> None:
    execute(
        url,
        "INSERT INTO tasks (user_id, id, title) SELECT"
        f" '{user}', gen_random_uuid(), 'x' FROM generate_series(1, {number})",
    )


def accepted(write: Callable[[], object]) -> bool:
    try:
        write()
    except QuotaExceededError:
        return False
    return True


def test_beyond_the_quota_a_create_is_refused_and_everything_else_goes_on(
    configure: Configure, url: str, user: str
) -> None:
    configure(MAX_TASKS_PER_USER=3)
    first, *_ = [store.create(user, _NEW).value for _ in range(3)]
    for conditions in (Preconditions(), key()):
        with pytest.raises(QuotaExceededError, match="3 tasks") as error:
            store.create(user, _NEW, conditions)
        assert (error.value.what, error.value.quota) == ("tasks", 3)
    assert count(url, "tasks", user) == 3
    assert count(url, "idempotency_keys", user) == 0
    store.update(user, first.id, TaskUpdate(title="changed"), key())
    store.toggle(user, first.id)
    store.create(str(uuid4()), _NEW)
    store.delete(user, first.id)
    store.create(user, _NEW)


def test_beyond_the_quota_of_keys_only_writes_with_a_new_key_are_refused(
    configure: Configure, url: str, user: str
) -> None:
    configure(MAX_KEYS_PER_USER=2)
    create, toggle = key(), key()
    task = store.create(user, _NEW, create).value
    toggled = store.toggle(user, task.id, toggle)
    for write in (
        lambda: store.create(user, _NEW, key()),
        lambda: store.update(user, task.id, TaskUpdate(title="x"), key()),
        lambda: store.toggle(user, task.id, key()),
        lambda: store.delete(user, task.id, key()),
    ):
        with pytest.raises(QuotaExceededError, match="2 idempotency keys"):
            write()
    assert store.get(user, task.id) == toggled.value
    assert store.create(user, _NEW, create).value == task
    assert store.toggle(user, task.id, toggle) == toggled._replace(replayed=True)
    execute(
        url,
        f"UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"
        f" WHERE user_id = '{user}'",
    )
    store.toggle(user, task.id, key())
    store.delete(user, task.id)


def test_sixty_four_clients_at_once_pass_the_quota_by_sixty_four_at_most(
    configure: Configure, crowd: ThreadPoolExecutor, url: str, user: str
) -> None:
    configure(MAX_TASKS_PER_USER=1000, MAX_KEYS_PER_USER=150)
    fill(url, user, 700)

    def write(number: int) -> bool:
        return accepted(lambda: store.create(user, _NEW, Preconditions() if number % 2 else key()))

    done = list(crowd.map(write, range(800)))
    assert done.count(True) <= 300 + CLIENTS
    assert count(url, "tasks", user) <= 1000 + CLIENTS
    assert count(url, "idempotency_keys", user) <= 150 + CLIENTS


def test_a_create_waits_for_no_open_transaction_of_the_user(url: str, user: str) -> None:
    insert = "INSERT INTO tasks (user_id, id, title) VALUES (%s, gen_random_uuid(), 'x')"
    with psycopg.connect(url) as other:
        other.execute(insert, (user,))
        with neon.deadline(5):
            store.create(user, _NEW)
            store.create(user, _NEW, key())
