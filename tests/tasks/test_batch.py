"""Many operations in one transaction: all of them or none, once for a key, beside other writes."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from bench.servers import until
from tasks import batch, store
from tasks.batch import Batch
from tasks.errors import (
    KeyInUseError,
    KeyReusedError,
    OperationRefusedError,
    QuotaExceededError,
    TaskNotFoundError,
    VersionMismatchError,
)
from tasks.idempotency import Preconditions, WriteResult
from tasks.models import Task, TaskCreate, TaskUpdate
from tasks.paging import PageRequest
from tests.identity.conftest import execute
from tests.tasks.conftest import Configure
from tests.tasks.test_idempotency import everything

Written = WriteResult[list[Task | None]]


def create(title: str) -> dict[str, Any]:
    return {"op": "create", "task": {"title": title}}


def update(id_: UUID, **task: Any) -> dict[str, Any]:
    return {"op": "update", "id": str(id_), "task": task}


def toggle(id_: UUID) -> dict[str, Any]:
    return {"op": "toggle", "id": str(id_)}


def delete(id_: UUID) -> dict[str, Any]:
    return {"op": "delete", "id": str(id_)}


def send(
    user: str,
    *operations: dict[str, Any],
    key: str | None = None,
    versions: dict[int, datetime] | None = None,
) -> Written:
    """Run a batch; `versions` has the one that the operation at a place may change."""
    wanted = Batch.model_validate({"operations": operations})
    accepted = [
        frozenset([versions[n]]) if versions and n in versions else None
        for n in range(len(operations))
    ]
    return batch.run(user, wanted, accepted, key)


def made(user: str, *titles: str) -> list[Task]:
    return [store.create(user, TaskCreate(title=title)).value for title in titles]


def left(user: str) -> list[Task]:
    return store.list_page(user, PageRequest()).tasks


def refusal(user: str, *operations: dict[str, Any], **options: Any) -> tuple[int, str]:
    """Send a batch that is refused, check that nothing was done, and return where and why."""
    before = left(user)
    with pytest.raises(OperationRefusedError) as refused:
        send(user, *operations, **options)
    assert left(user) == before
    return refused.value.operation, type(refused.value.reason).__name__


MISSING, CHANGED = TaskNotFoundError.__name__, VersionMismatchError.__name__
FULL = QuotaExceededError.__name__


@pytest.mark.usefixtures("url")
def test_each_operation_sees_what_the_ones_before_it_did(user: str) -> None:
    one, two = made(user, "one", "two")
    results = send(
        user,
        update(one.id, title="uno"),
        create("three"),
        toggle(one.id),
        delete(two.id),
        update(one.id, description="the first"),
        delete(one.id),
    ).value
    shown = [task and (task.title, task.description, task.completed) for task in results]
    assert shown == [
        ("uno", None, False),
        ("three", None, False),
        ("uno", None, True),
        None,
        ("uno", "the first", True),
        None,
    ]
    assert left(user) == [results[1]]


@pytest.mark.usefixtures("url")
def test_created_tasks_are_in_the_order_of_their_operations(user: str) -> None:
    titles = [f"task {n}" for n in range(50)]
    results = send(user, *map(create, titles)).value
    assert [task.title for task in left(user)] == titles
    assert left(user) == results


@pytest.mark.usefixtures("url")
def test_the_first_operation_that_cannot_be_done_undoes_all(user: str) -> None:
    one, two = made(user, "one", "two")
    ahead = [create("new"), update(one.id, title="changed"), delete(two.id)]
    (foreign,) = made("somebody else", "theirs")
    for missing in (uuid4(), foreign.id, two.id):
        assert refusal(user, *ahead, toggle(missing), toggle(uuid4())) == (3, MISSING)
        assert refusal(user, *ahead, toggle(missing), key=str(uuid4())) == (3, MISSING)
    store.toggle(user, one.id)
    assert refusal(user, create("new"), toggle(one.id), versions={1: one.updated_at}) == (
        1,
        CHANGED,
    )
    assert store.get("somebody else", foreign.id) == foreign


@pytest.mark.usefixtures("url")
def test_a_version_holds_until_the_batch_itself_changes_the_task(user: str) -> None:
    (one,) = made(user, "one")
    known = one.updated_at
    assert refusal(user, toggle(one.id), toggle(one.id), versions={0: known, 1: known}) == (
        1,
        CHANGED,
    )
    send(user, toggle(one.id), delete(one.id), versions={0: known})
    assert left(user) == []


@pytest.mark.usefixtures("url")
def test_a_refused_batch_leaves_its_key_unused(user: str) -> None:
    (one,) = made(user, "one")
    stale = {1: datetime.fromisoformat("2026-01-01T00:00:00Z")}
    assert refusal(user, create("new"), toggle(one.id), key="one", versions=stale) == (1, CHANGED)
    assert not send(user, create("new"), toggle(one.id), key="one").replayed
    assert send(user, create("new"), toggle(one.id), key="one").replayed


def test_a_quota_counts_what_the_whole_batch_adds(configure: Configure, user: str) -> None:
    configure(MAX_TASKS_PER_USER=3)
    one, _ = made(user, "one", "two")
    assert refusal(user, create("three"), toggle(one.id), create("four")) == (2, FULL)
    assert refusal(user, create("three"), create("four"), delete(one.id)) == (1, FULL)
    send(user, create("three"), delete(one.id), create("four"))
    assert [task.title for task in left(user)] == ["two", "three", "four"]
    assert refusal(user, create("five")) == (0, FULL)
    configure(MAX_TASKS_PER_USER=1)
    gone = [delete(task.id) for task in left(user)]
    assert refusal(user, *gone[:2], create("one"), *gone[2:]) == (2, FULL)
    send(user, *gone, create("one"))


def test_a_batch_uses_one_key_of_the_quota(configure: Configure, user: str) -> None:
    configure(MAX_KEYS_PER_USER=1)
    send(user, *map(create, "abc"), key="one")
    with pytest.raises(QuotaExceededError, match="1 idempotency keys"):
        send(user, create("d"), key="two")
    assert send(user, *map(create, "abc"), key="one").replayed
    assert len(left(user)) == 3


# --- once for a key ---


@pytest.mark.usefixtures("url")
def test_a_replay_is_the_first_answer_whatever_was_changed_since(user: str) -> None:
    one, two = made(user, "one", "two")
    operations = [create("three"), update(one.id, title="uno"), toggle(one.id), toggle(two.id)]
    first = send(user, *operations, key="one")
    store.update(user, one.id, TaskUpdate(title="changed again"))
    assert send(user, *operations, key="one") == first._replace(replayed=True)
    assert len(left(user)) == 3
    with pytest.raises(KeyReusedError):
        send(user, *operations[:-1], key="one")


def test_a_replay_shows_the_tasks_that_are_left_and_no_text_of_others_is_kept(
    url: str, user: str
) -> None:
    """Tasks are deleted by the batch itself, by another batch, and by statements of their own."""
    one, two, three = made(user, "private one", "private two", "private three")
    operations = [
        update(one.id, description="a private description"),
        delete(one.id),
        create("private four"),
        toggle(two.id),
        toggle(three.id),
    ]
    first, _, four, second, third = send(user, *operations, key="one").value
    assert first
    assert four
    assert first.description == "a private description"
    assert send(user, *operations, key="one") == ([None, None, four, second, third], True)
    kept = everything(url)
    assert "private one" not in kept
    assert "a private description" not in kept
    send(user, delete(four.id), toggle(three.id), key="two")
    assert send(user, *operations, key="one") == ([None, None, None, second, third], True)
    execute(url, f"DELETE FROM tasks WHERE user_id = '{user}'")
    assert send(user, *operations, key="one") == ([None] * 5, True)
    assert "private" not in everything(url)


@pytest.mark.usefixtures("url")
def test_a_batch_of_deletions_is_replayed(user: str) -> None:
    one, two = made(user, "one", "two")
    for replayed in (False, True):
        assert send(user, delete(one.id), delete(two.id), key="one") == ([None, None], replayed)


# --- at the same time ---

_WAITING = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def waiting(url: str, number: int, *running: Future[Any]) -> None:
    """Wait until so many sessions wait for a lock, or one of these has ended."""
    until(lambda: execute(url, _WAITING) == [(number,)] or any(future.done() for future in running))


def test_two_batches_over_the_same_tasks_in_opposite_order_do_not_wait_for_each_other(
    url: str, user: str, crowd: ThreadPoolExecutor
) -> None:
    """Both wait for the first task; without an order one of them would hold the second by then."""
    one, two = crowd.submit(made, user, "one", "two").result()
    with psycopg.connect(url) as holder:
        holder.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (one.id,))
        there = crowd.submit(send, user, toggle(one.id), toggle(two.id), key="there")
        waiting(url, 1, there)
        back = crowd.submit(send, user, toggle(two.id), toggle(one.id), key="back")
        waiting(url, 2, there, back)
    assert not there.result().replayed
    assert not back.result().replayed
    assert [task.completed for task in crowd.submit(left, user).result()] == [False, False]


@pytest.mark.parametrize("_again", range(5))
def test_deletions_of_tasks_that_share_outcomes_empty_all_of_them(
    url: str, user: str, crowd: ThreadPoolExecutor, _again: int
) -> None:
    """Without an order of their locks, every fourth attempt meets a deadlock."""
    tasks = crowd.submit(made, user, *map(str, range(20))).result()
    for key in "abcde":
        toggles = (toggle(task.id) for task in tasks)
        crowd.submit(send, user, *toggles, key=key).result()
    pairs = [tasks[n : n + 2] for n in range(0, 20, 2)]
    deletions = [
        crowd.submit(send, user, *(delete(task.id) for task in pair), key=str(pair[0].id))
        for pair in pairs
    ]
    assert [deletion.result().value for deletion in deletions] == [[None, None]] * 10
    kept = execute(
        url,
        "SELECT DISTINCT outcome::jsonb FROM idempotency_keys"
        f" WHERE user_id = '{user}' AND char_length(key) = 1",
    )
    assert kept == [([None] * 20,)]


def test_batches_beside_single_writes_lose_nothing(user: str, crowd: ThreadPoolExecutor) -> None:
    tasks = crowd.submit(made, user, "one", "two", "three").result()

    def write(number: int) -> None:
        if number % 3:
            store.toggle(user, tasks[number % 2].id)
            return
        order = tasks if number % 2 else tasks[::-1]
        send(user, *(toggle(task.id) for task in order), create(str(number)), key=str(number))

    list(crowd.map(write, range(61)))
    shown = crowd.submit(left, user).result()
    batches, singles = 21, [len([n for n in range(61) if n % 3 and n % 2 == m]) for m in (0, 1)]
    expected = [bool((batches + each) % 2) for each in (*singles, 0)]
    assert [task.completed for task in shown[:3]] == expected
    assert len(shown) == 3 + batches


def test_a_task_that_is_deleted_while_the_batch_waits_for_it_refuses_the_batch(
    url: str, user: str, crowd: ThreadPoolExecutor
) -> None:
    one, two = crowd.submit(made, user, "one", "two").result()
    with psycopg.connect(url) as holder:
        holder.execute("DELETE FROM tasks WHERE id = %s", (two.id,))
        running = crowd.submit(send, user, toggle(one.id), toggle(two.id), key="one")
        waiting(url, 1, running)
    with pytest.raises(OperationRefusedError) as refused:
        running.result()
    assert refused.value.operation == 1
    assert crowd.submit(left, user).result() == [one]


def test_while_a_batch_runs_its_key_is_in_use(
    url: str, user: str, crowd: ThreadPoolExecutor
) -> None:
    (one,) = crowd.submit(made, user, "one").result()
    with psycopg.connect(url) as holder:
        holder.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (one.id,))
        first = crowd.submit(send, user, toggle(one.id), key="one")
        waiting(url, 1, first)
        with pytest.raises(KeyInUseError):
            crowd.submit(send, user, toggle(one.id), key="one").result()
    assert first.result().value


def test_a_single_write_with_the_same_key_is_another_write(url: str, user: str) -> None:
    assert url
    send(user, create("one"), key="one")
    assert not store.create(user, TaskCreate(title="one"), Preconditions(key="one")).replayed
    assert len(left(user)) == 2
