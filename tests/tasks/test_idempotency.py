"""What is done once for an idempotency key, and what is recorded of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from neon import Statement
from tasks import store
from tasks.errors import TaskNotFoundError
from tasks.idempotency import PROCEED, Preconditions, WriteResult, outcome, run_once
from tasks.models import Task, TaskCreate, TaskUpdate
from tests.identity.conftest import execute, postgres_versions

Write = Callable[[Preconditions], WriteResult[Task]]


def key() -> Preconditions:
    return Preconditions(key=str(uuid4()))


def toggling(user: str, id_: UUID) -> Write:
    return lambda conditions: store.toggle(user, id_, conditions)


def updating(user: str, id_: UUID, change: TaskUpdate) -> Write:
    return lambda conditions: store.update(user, id_, change, conditions)


def made(user: str, title: str = "a title", description: str | None = None) -> Task:
    return store.create(user, TaskCreate(title=title, description=description)).value


def everything(url: str) -> str:
    """Return every value of every table as one text, with the planner's statistics and a dump."""
    names = execute(
        url,
        "SELECT oid::regclass::text FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace <> 'information_schema'::regnamespace",
    )
    rows = execute(url, " UNION ALL ".join(f"SELECT t::text FROM {name} AS t" for (name,) in names))
    dump = [str(postgres_versions()[0] / "pg_dump"), "--statistics", url]
    dumped = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    return "\n".join([dumped, *(str(text) for (text,) in rows)])


def test_a_replay_is_the_first_answer_whatever_was_changed_since(url: str, user: str) -> None:
    """After a mix of writes with and without keys, each keyed one is replayed."""
    assert url
    id_ = made(user, "first").id
    answers: list[tuple[Write, Preconditions, Task]] = []
    for number, title in enumerate("abcbac" * 2):
        change = TaskUpdate(title=title)
        write = toggling(user, id_) if number % 4 == 3 else updating(user, id_, change)
        conditions = Preconditions() if number % 3 == 1 else key()
        task = write(conditions).value
        if conditions.key:
            answers.append((write, conditions, task))
    assert [write(again) for write, again, _ in answers] == [
        WriteResult(task, replayed=True) for _, _, task in answers
    ]


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("conditions", [Preconditions(), key()], ids=["without a key", "with one"])
def test_deleting_a_task_takes_its_text_out_of_everything_that_is_kept(
    conditions: Preconditions, url: str, user: str
) -> None:
    create, toggle, update = key(), key(), key()
    new = TaskCreate(title="a secret title", description="a secret description")
    id_ = store.create(user, new, create).value.id
    store.toggle(user, id_, toggle)
    store.update(user, id_, TaskUpdate(title="another secret title"), update)
    store.update(user, id_, TaskUpdate(description="something else that is secret"))
    execute(url, "ANALYZE")  # as Postgres does by itself now and then
    assert "a secret title" in everything(url)
    store.delete(user, id_, conditions)
    left = everything(url)
    for text in ("a secret title", "a secret description", "another secret", "something else that"):
        assert text not in left
    with pytest.raises(TaskNotFoundError):
        store.create(user, new, create)
    with pytest.raises(TaskNotFoundError):
        store.toggle(user, id_, toggle)
    with pytest.raises(TaskNotFoundError):
        store.update(user, id_, TaskUpdate(title="another secret title"), update)
    if conditions.key:
        assert store.delete(user, id_, conditions).replayed


_RENAME_ALL = f"""
WITH renamed AS (
    UPDATE tasks SET title = title || ', and ' || %(more)s
    WHERE user_id = %(user_id)s AND {PROCEED}
    RETURNING title
)
SELECT {outcome("(SELECT json_agg(title ORDER BY title)::text FROM renamed)")}
"""


@pytest.mark.usefixtures("url")
def test_a_write_of_many_tasks_is_done_once_and_loses_its_texts_when_one_of_them_is_deleted(
    user: str,
) -> None:
    ids = [made(user, title).id for title in ("milk", "tea")]
    statement = Statement(_RENAME_ALL, {"user_id": user, "more": "bread"})

    def rename_all() -> WriteResult[str | None]:
        return run_once(user, statement, statement, key="one", scope="rename all", tasks=ids)

    twice = ["milk, and bread, and bread", "tea, and bread, and bread"]
    for replayed in (False, True):
        written = rename_all()
        assert (json.loads(written.value or ""), written.replayed) == (twice, replayed)
    store.delete(user, ids[1])
    assert rename_all() == WriteResult("[null, null]", replayed=True)
    assert store.get(user, ids[0]).title == twice[0]


def test_a_statement_that_deletes_many_tasks_empties_the_outcomes_of_each(
    url: str, user: str
) -> None:
    ids = [made(user, f"secret {number}").id for number in range(3)]
    for id_ in ids:
        store.toggle(user, id_, key())
    execute(url, f"DELETE FROM tasks WHERE user_id = '{user}' AND id <> '{ids[0]}'")
    left = execute(
        url,
        f"SELECT outcome ->> 'title' FROM idempotency_keys WHERE user_id = '{user}' ORDER BY 1",
    )
    assert left == [("secret 0",), (None,), (None,)]


def test_the_purge_deletes_the_keys_that_can_no_longer_be_replayed(url: str, user: str) -> None:
    id_ = made(user).id
    expired, live = key(), key()
    store.toggle(user, id_, expired)
    first = store.toggle(user, id_, live)
    execute(
        url,
        "UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'"
        f" WHERE key = '{expired.key}'",
    )
    while execute(url, "SELECT purge_expired_keys(1)") != [(0,)]:
        pass
    left = execute(url, f"SELECT key FROM idempotency_keys WHERE user_id = '{user}'")
    assert left == [(live.key,)]
    assert store.toggle(user, id_, live) == first._replace(replayed=True)
