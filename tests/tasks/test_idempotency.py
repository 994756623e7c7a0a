"""What is recorded for an idempotency key: enough to replay the first response, and no text."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tasks import idempotency, store
from tasks.errors import TaskNotFoundError
from tasks.idempotency import Preconditions, WriteResult
from tasks.models import TEXTS, Task, TaskCreate, TaskUpdate
from tests.identity.conftest import execute, migrate, postgres_versions
from tests.running import ROOT

# Each character has four bytes in UTF-8 and is new, so nothing can be compressed.
_ALPHABET = [chr(0x10000 + number * 7) for number in range(5500)]
TITLE, DESCRIPTION = "".join(_ALPHABET[:500]), "".join(_ALPHABET[500:])
RECORDS = "('idempotency_keys', 'replaced_texts')"

Write = Callable[[Preconditions], WriteResult]


def key() -> Preconditions:
    return Preconditions(key=str(uuid4()))


def toggling(user: str, id_: UUID) -> Write:
    return lambda conditions: store.toggle(user, id_, conditions)


def updating(user: str, id_: UUID, change: TaskUpdate) -> Write:
    return lambda conditions: store.update(user, id_, change, conditions)


def made(user: str, title: str = TITLE, description: str | None = DESCRIPTION) -> Task:
    return store.create(user, TaskCreate(title=title, description=description)).task


def bytes_recorded(url: str) -> int:
    execute(url, "VACUUM idempotency_keys", "VACUUM replaced_texts")
    ((total,),) = execute(
        url,
        f"SELECT sum(pg_total_relation_size(oid))::int FROM pg_class WHERE relname IN {RECORDS}",
    )
    assert isinstance(total, int)
    return total


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


@pytest.mark.parametrize(
    ("write", "most"),
    [
        (lambda user, id_: store.toggle(user, id_, key()), 1000),
        (lambda user, id_: store.update(user, id_, TaskUpdate(completed=True), key()), 1000),
        (
            lambda user, _: store.create(
                user, TaskCreate(title=TITLE, description=DESCRIPTION), key()
            ),
            1000,
        ),
        (lambda user, id_: store.update(user, id_, TaskUpdate(title=str(uuid4())), key()), 2000),
    ],
    ids=["toggle", "update of no text", "create", "update of the title"],
)
def test_a_key_takes_no_more_than_its_outcome_needs_however_long_the_text_is(
    write: Callable[[str, UUID], WriteResult], most: int, url: str, user: str
) -> None:
    id_ = made(user).id
    for _ in range(20):
        write(user, id_)  # the free space maps, which exist once
    before = bytes_recorded(url)
    for _ in range(150):
        write(user, id_)
    assert (bytes_recorded(url) - before) / 150 <= most


def test_a_replay_is_the_first_answer_whatever_was_changed_since(url: str, user: str) -> None:
    """After a mix of writes with and without keys, each keyed one is replayed."""
    assert url
    id_ = made(user, "first", None).id
    answers: list[tuple[Write, Preconditions, Task]] = []
    texts: list[dict[str, Any]] = [
        {"title": "a"},
        {"description": "b"},
        {},
        {"title": "c", "description": "d"},
        {"completed": True},
        {"title": "c"},
        {"description": ""},
    ]
    for number in range(60):
        change = TaskUpdate(**texts[number * number % 7 * 3 % 7])
        write = toggling(user, id_) if number % 4 == 3 else updating(user, id_, change)
        conditions = Preconditions() if number % 3 == 1 else key()
        task = write(conditions).task
        if conditions.key:
            answers.append((write, conditions, task))
    assert [write(again) for write, again, _ in answers] == [
        WriteResult(task, replayed=True) for _, _, task in answers
    ]


def test_a_task_that_nobody_wrote_with_a_key_leaves_no_copy_of_its_texts(
    url: str, user: str
) -> None:
    id_ = made(user).id
    for number in range(3):
        store.update(user, id_, TaskUpdate(title=f"{number}", description="x"))
    assert execute(url, f"SELECT FROM replaced_texts WHERE user_id = '{user}'") == []


def test_one_key_leaves_one_copy_however_often_the_text_changes_without_one(
    url: str, user: str
) -> None:
    id_ = made(user).id
    store.toggle(user, id_, key())
    for number in range(10):
        store.update(user, id_, TaskUpdate(title=f"{number}", description=f"{number}"))
    copies = execute(url, f"SELECT name FROM replaced_texts WHERE user_id = '{user}' ORDER BY 1")
    assert copies == [("description",), ("title",)]


def test_every_text_of_a_task_is_kept_when_it_is_replaced(url: str) -> None:
    """A new text needs the trigger, and this test is the one that says so."""
    watched = execute(
        url,
        "SELECT event_object_column FROM information_schema.triggered_update_columns"
        " WHERE trigger_name = 'keep_replaced_texts'",
    )
    assert {name for (name,) in watched} == set(TEXTS) - {"user_id"}


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("conditions", [Preconditions(), key()], ids=["without a key", "with one"])
def test_deleting_a_task_takes_its_text_out_of_everything_that_is_kept(
    conditions: Preconditions, url: str, user: str
) -> None:
    create, toggle, update = key(), key(), key()
    new = TaskCreate(title="a secret title", description="a secret description")
    id_ = store.create(user, new, create).task.id
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


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("conditions", [Preconditions(), key()], ids=["without a key", "with one"])
def test_a_write_that_adds_no_task_after_all_finds_none(
    user: str, conditions: Preconditions
) -> None:
    new = TaskCreate(title=TITLE)
    params = {**vars(new), "created_at": None, "updated_at": None}
    sql = store._INSERT.replace("WHERE", "WHERE false AND")
    write = idempotency.Write(sql, user, uuid4(), params, scope="copy", body=new, creates=True)
    with pytest.raises(TaskNotFoundError):
        write.run(conditions)


def test_the_text_of_an_outcome_of_before_is_deleted_with_its_task(url: str, user: str) -> None:
    task = made(user, "a secret from before", None)
    scope = f"toggle {task.id}"
    record_as_before(url, task, scope, "then")
    execute(url, "ANALYZE")
    assert "a secret from before" in everything(url)
    store.delete(user, task.id)
    assert "a secret from before" not in everything(url)
    with pytest.raises(TaskNotFoundError):
        store.toggle(user, task.id, Preconditions(key="then"))


def test_an_outcome_of_before_is_replayed(url: str, user: str) -> None:
    task = made(user, "as it was", "then")
    record_as_before(url, task, f"toggle {task.id}", "then")
    store.update(user, task.id, TaskUpdate(title="as it is now", description=""))
    replay = store.toggle(user, task.id, Preconditions(key="then"))
    assert replay == WriteResult(task, replayed=True)


def record_as_before(url: str, task: Task, scope: str, name: str) -> None:
    """Record an outcome as the API did before migration 0006: the whole row."""
    outcome = json.dumps(task.model_dump(mode="json")).replace("'", "''")
    execute(
        url,
        "INSERT INTO idempotency_keys (user_id, scope, key, fingerprint, outcome)"
        f" VALUES ('{task.user_id}', '{scope}', '{name}', sha256(''), '{outcome}')",
    )


def test_statistics_that_were_collected_before_0009_are_removed(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    last = ROOT / "functions" / "migrate" / "migrations" / "0009_no_statistics_of_texts.sql"
    migrations = [path for path in last.parent.glob("*.sql") if path < last]
    for path in sorted(migrations):
        execute(url, path.read_text())
    execute(
        url,
        "INSERT INTO tasks (user_id, id, title, description)"
        " SELECT 'u', gen_random_uuid(), 'an old title', 'an old text' FROM generate_series(1, 9)",
        "ANALYZE",
        "DELETE FROM tasks",
    )
    assert "an old title" in everything(url)
    execute(url, last.read_text())
    assert "an old" not in everything(url)


def test_after_the_purge_no_text_of_expired_keys_is_in_any_table(url: str, user: str) -> None:
    task = made(user, "a secret that was replaced", None)
    store.toggle(user, task.id, key())
    store.update(user, task.id, TaskUpdate(title="harmless"))
    record_as_before(url, task, "toggle of before", "then")
    execute(url, "ANALYZE")
    assert "a secret that was replaced" in everything(url)
    a_day_passes(url)
    while execute(url, "SELECT purge_expired_keys(1)") != [(0,)]:
        pass
    assert "a secret that was replaced" not in everything(url)
    assert execute(url, f"SELECT FROM idempotency_keys WHERE user_id = '{user}'") == []


def test_the_purge_leaves_what_can_be_replayed(url: str, user: str) -> None:
    id_ = made(user, "then", None).id
    once = key()
    first = store.toggle(user, id_, once)
    store.update(user, id_, TaskUpdate(title="now"))
    execute(url, "SELECT purge_expired_keys()")
    assert store.toggle(user, id_, once) == first._replace(replayed=True)


def a_day_passes(url: str) -> None:
    execute(
        url,
        "UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'",
        "UPDATE replaced_texts SET replaced_at = replaced_at - interval '25 hours'",
    )


_REPLAY = """
import sys
from tasks import store
from tasks.idempotency import Preconditions
from tasks.models import TaskCreate
user, key = sys.argv[1:]
result = store.create(user, TaskCreate(title="x"), Preconditions(key=key))
print(result.task.urgency, result.replayed)
fresh = store.create(user, TaskCreate(title="x", urgency="high"))
print(fresh.task.urgency)
"""


def test_a_required_member_is_a_model_and_a_migration_and_replays_what_was_before(
    new_database: Callable[[], str], url: str, user: str, tmp_path: Path
) -> None:
    """It follows the walk of a new member in a copy: two lines in the models, one migration."""
    own = new_database()
    migrate(own)
    once = Preconditions(key="before")
    layer = tmp_path / "layer"
    shutil.copytree(ROOT / "layers" / "shared", layer)
    environment = {"DATABASE_URL": own, "ALLOW_OWNER_LOGIN": "true", "PYTHONPATH": str(layer)}
    create = (
        "import sys; from tasks import store; from tasks.models import TaskCreate;"
        "from tasks.idempotency import Preconditions; store.create(sys.argv[1],"
        "TaskCreate(title='x'), Preconditions(key=sys.argv[2]))"
    )
    run(environment, create, user, str(once.key))
    models = layer / "tasks" / "models.py"
    text = models.read_text()
    text = text.replace("    completed: bool\n", "    completed: bool\n    urgency: str\n")
    after = "\n\n\nclass TaskUpdate"
    text = text.replace(after, f'\n    urgency: str = "low"{after}')
    models.write_text(text)
    execute(own, "ALTER TABLE tasks ADD COLUMN urgency text NOT NULL DEFAULT 'normal'")
    assert url
    assert run(environment, _REPLAY, user, str(once.key)) == ["normal True", "high"]


def run(environment: dict[str, str], code: str, *arguments: str) -> list[str]:
    """Run Python with these variables, and return the lines that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.splitlines()
