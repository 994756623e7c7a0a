"""`make adopt` takes over the database of a FastAPI + SQLModel task API in one transaction."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
import pytest

from local.postgres import Postgres
from tests.functions.handlers import modules
from tests.planted import plant, uproot
from tests.running import ROOT

MIGRATIONS = ROOT / "functions" / "migrate" / "migrations"

# The tables that SQLModel creates, with integers or with UUIDs as ids.
INTEGERS: LiteralString = """
CREATE TABLE tasks (
    id SERIAL NOT NULL, user_id VARCHAR NOT NULL, title VARCHAR(200) NOT NULL,
    description VARCHAR(1000), completed BOOLEAN NOT NULL,
    created_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX ix_tasks_user_id ON tasks (user_id);
INSERT INTO tasks (user_id, title, description, completed, created_at, updated_at) VALUES
    ('alice', 'third', NULL, false, '2025-01-02 10:00:00.000002', '2025-01-03'),
    ('bob', 'of bob', '', true, '2025-01-02', '2025-01-02'),
    ('alice', 'first', 'text', true, '2025-01-01', '2025-01-05'),
    ('alice', 'second', 'text', true, '2025-01-02 10:00:00.000001', '2025-01-05');
"""
UUIDS: LiteralString = """
CREATE TABLE tasks (
    id UUID NOT NULL, user_id VARCHAR NOT NULL, title VARCHAR NOT NULL, description VARCHAR,
    completed BOOLEAN NOT NULL, created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id)
);
INSERT INTO tasks VALUES
    ('f47ac10b-58cc-4372-a567-0e02b2c3d479', 'alice', 'random id', NULL, false,
     '2025-01-01 12:00+02', '2025-01-02 12:00+02'),
    ('019426f0-a000-7000-8000-000000000001', 'alice', 'ordered id', NULL, false,
     '2025-01-02 12:00+02', '2025-01-02 12:00+02');
"""


OLDEST_FIRST = "SELECT title FROM tasks WHERE user_id = 'alice' ORDER BY id"


@dataclass(frozen=True)
class OldDatabase:
    """A database of the old system. Its owner has only the rights that Neon's first role has."""

    url: str
    owner: psycopg.Connection[tuple[Any, ...]]
    superuser: psycopg.Connection[tuple[Any, ...]]

    def holds(self, ddl: LiteralString) -> OldDatabase:
        """Make the old system's tables, and return this database."""
        self.owner.execute(ddl, prepare=False)
        return self

    def rows(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """Return the rows of a query, whoever owns them."""
        return self.superuser.execute(query).fetchall()

    def adopt(self, command: str = "adopt", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the command as `make adopt` does, or `make migrate`."""
        paths = {"PYTHONPATH": "layers/shared:functions/migrate", "DATABASE_URL": self.url}
        return subprocess.run(
            [sys.executable, "-m", f"deploy.{command}"],
            cwd=ROOT,
            env=paths | environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def adopted(self, **environ: str) -> str:
        """Adopt the database, and return what the command printed."""
        done = self.adopt(YES="1", **environ)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def refused(self, **environ: str) -> str:
        """Expect a refusal that changes nothing, and return its sentence."""
        before = self._contents()
        done = self.adopt(YES="1", **environ)
        assert (done.returncode, self._contents()) == (1, before)
        return done.stderr

    def _contents(self) -> list[tuple[Any, ...]]:
        tables = self.rows("SELECT oid::regclass::text FROM pg_class ORDER BY 1")
        return tables + self.rows("SELECT to_jsonb(t) FROM tasks AS t ORDER BY id")


@pytest.fixture
def old(postgres: Postgres, new_database: Callable[[], str]) -> Iterator[OldDatabase]:
    """Return an empty database that an ordinary role owns."""
    name = new_database().partition("@/")[2].partition("?")[0]
    owner = f"owner_of_{name}"
    with psycopg.connect(postgres.url, autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE")
        superuser.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
        superuser.execute(
            f"DO $$ BEGIN CREATE ROLE task_api; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
            f"GRANT task_api TO {owner} WITH ADMIN OPTION",
            prepare=False,
        )
    url = postgres.url_for(owner, name)
    with (
        psycopg.connect(url, autocommit=True) as ordinary,
        psycopg.connect(postgres.url_for("postgres", name), autocommit=True) as superuser,
    ):
        yield OldDatabase(url, ordinary, superuser)


def test_integer_ids_become_uuids_in_the_order_of_creation_and_stay_beside_them(
    old: OldDatabase,
) -> None:
    old.holds(INTEGERS).adopted()
    assert old.rows(OLDEST_FIRST) == [("first",), ("second",), ("third",)]
    ids = old.rows("SELECT legacy_id FROM tasks WHERE user_id = 'alice' ORDER BY id")
    assert ids == [("3",), ("4",), ("1",)]
    versions = old.rows(
        "SELECT DISTINCT substr(id::text, 15, 1), substr(id::text, 20, 1) FROM tasks"
    )
    assert {version for version, _ in versions} == {"7"}
    assert {variant for _, variant in versions} <= set("89ab")


def test_every_member_of_every_task_is_kept_and_times_are_read_in_the_zone_that_is_named(
    old: OldDatabase,
) -> None:
    members = "user_id, title, description, completed"
    before = old.holds(INTEGERS).rows(
        f"SELECT {members}, created_at, updated_at FROM tasks ORDER BY id"
    )
    old.adopted(ZONE="Europe/Berlin")
    local = "created_at AT TIME ZONE 'Europe/Berlin', updated_at AT TIME ZONE 'Europe/Berlin'"
    after = old.rows(f"SELECT {members}, {local} FROM tasks ORDER BY legacy_id::int")
    assert after == before


def test_uuids_are_kept_and_the_plan_says_which_are_out_of_order(old: OldDatabase) -> None:
    said = old.holds(UUIDS).adopted()
    assert "1 of them do not grow with time" in said
    assert old.rows("SELECT title FROM tasks WHERE id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'")
    assert old.rows(
        "SELECT count(*) FROM information_schema.columns WHERE column_name='legacy_id'"
    )[0] == (0,)


def test_new_ids_put_random_uuids_in_the_order_of_creation_too(old: OldDatabase) -> None:
    old.holds(UUIDS).adopted(IDS="new")
    assert old.rows(OLDEST_FIRST) == [("random id",), ("ordered id",)]
    assert ("f47ac10b-58cc-4372-a567-0e02b2c3d479",) in old.rows("SELECT legacy_id FROM tasks")


def test_columns_that_the_api_does_not_know_stay_with_their_rows(old: OldDatabase) -> None:
    old.holds(INTEGERS).holds("ALTER TABLE tasks ADD priority int NOT NULL DEFAULT 3")
    said = old.adopted()
    assert "priority: kept in the table" in said
    assert old.rows("SELECT DISTINCT priority FROM tasks") == [(3,)]
    old.superuser.execute(
        "INSERT INTO tasks (user_id, id, title) VALUES ('alice', gen_random_uuid(), 'new')"
    )


def test_the_schema_is_the_one_that_a_new_database_gets(
    old: OldDatabase, new_database: Callable[[], str]
) -> None:
    old.holds(UUIDS).adopted()
    assert "adopted already" in old.adopted()
    fresh = new_database()
    modules("migrate")["runner"].Runner(
        fresh, modules("migrate")["runner"].migrations(MIGRATIONS)
    ).run()
    with psycopg.connect(fresh) as connection:
        for query in _SCHEMA:
            assert old.rows(query) == connection.execute(query).fetchall()


def test_without_an_answer_the_plan_is_shown_and_nothing_is_changed(old: OldDatabase) -> None:
    old.holds(INTEGERS).superuser.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    shown = old.adopt()
    assert shown.returncode == 1
    assert "4 tasks of 2 users" in shown.stdout
    assert "its count(*) is 0" in shown.stdout
    assert "Nothing was changed" in shown.stderr
    assert old.rows("SELECT id FROM tasks ORDER BY id") == [(1,), (2,), (3,), (4,)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "ALTER TABLE tasks ALTER title TYPE text; UPDATE tasks SET title = repeat('x', 501)",
            "a title of more than 500 characters.*ids: 1, 2, 3, 4",
        ),
        ("UPDATE tasks SET user_id = '' WHERE id = 1", "have no user.*ids: 1"),
        ("UPDATE tasks SET updated_at = 'infinity' WHERE id = 3", "have a time.*ids: 3"),
        ("ALTER TABLE tasks DROP completed", "no column completed"),
        ("ALTER TABLE tasks ALTER id TYPE text", "column id is text"),
        (
            "CREATE TABLE tags (task int REFERENCES tasks)",
            "Something else uses the old table.*tags",
        ),
        (
            "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            "Row-level security may hide tasks",
        ),
        ("ALTER TABLE tasks ADD legacy_id int", "old ids go into a column legacy_id"),
        ("CREATE TABLE idempotency_keys (x int)", '"idempotency_keys" already exists'),
    ],
)
def test_what_cannot_be_adopted_is_one_sentence_and_changes_nothing(
    old: OldDatabase, change: LiteralString, sentence: str
) -> None:
    said = old.holds(INTEGERS).holds(change).refused()
    assert re.search(sentence, said)
    assert said.count("\n") == 1
    assert "second" not in said  # a task's text


def test_what_would_fail_is_refused_before_the_question(old: OldDatabase) -> None:
    done = old.holds(INTEGERS).holds("CREATE VIEW titles AS SELECT title FROM tasks").adopt()
    assert (done.returncode, done.stdout) == (1, "")
    assert "Something else uses the old table" in done.stderr


def test_code_that_somebody_planted_does_not_run(old: OldDatabase, postgres: Postgres) -> None:
    old.superuser.execute(INTEGERS, prepare=False)
    url = postgres.url_for("postgres", str(old.superuser.info.dbname))
    plant(url)
    done = old.adopt(YES="1", DATABASE_URL=url)
    assert (done.returncode, "Done" in done.stdout) == (0, True)
    assert not uproot(url)


def test_another_roles_table_is_refused(old: OldDatabase, postgres: Postgres) -> None:
    old.holds(INTEGERS)
    url = postgres.url_for("postgres", str(old.superuser.info.dbname))
    assert "adopt as its owner" in old.refused(DATABASE_URL=url)


def test_an_empty_database_is_told_that_it_needs_no_adoption(old: OldDatabase) -> None:
    done = old.adopt(YES="1")
    assert (done.returncode, "`make migrate` alone" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("public.task", ""),
        ('"My app"."Tasks"', ""),
        ("public.todo", "todo"),
    ],
)
def test_the_old_table_is_found_by_the_names_of_sqlmodel_or_is_named(
    old: OldDatabase, place: LiteralString, named: str
) -> None:
    """`make migrate` would leave its tasks unseen; where somebody ran it, they come over, too."""
    old.holds('CREATE SCHEMA "My app"').holds(INTEGERS.replace(" tasks ", f" {place} "))
    if not named:
        said = old.adopt("migrate")
        assert (said.returncode, "`make adopt` moves its tasks in" in said.stderr) == (1, True)
    assert old.adopt("migrate", YES="1").returncode == 0
    assert f"{place}: 4 tasks" in old.adopted(TABLE=named)
    assert len(old.rows("SELECT FROM tasks")) == 4
    assert "adopted already" in old.adopted()


def test_of_two_tables_the_old_one_has_to_be_named_and_none_may_be_in_the_way(
    old: OldDatabase,
) -> None:
    old.holds(INTEGERS).holds("CREATE TABLE task ()")
    assert "public.task and public.tasks may both be" in old.refused()
    assert "another table has that name" in old.refused(TABLE="public.task")
    old.adopted(TABLE="tasks")


@pytest.mark.parametrize("command", ["adopt", "migrate"])
def test_a_string_that_cannot_work_is_one_sentence(
    old: OldDatabase, postgres: Postgres, command: str
) -> None:
    old.superuser.execute("CREATE ROLE nobody LOGIN")
    powerless = postgres.url_for("nobody", str(old.superuser.info.dbname))
    try:
        said = [
            old.adopt(command, YES="1", DATABASE_URL=url, TABLE="").stderr
            for url in ("", "mysql://u:secret@h/b", powerless)
        ]
    finally:
        old.superuser.execute("DROP ROLE nobody")
    assert [each.count("\n") for each in said] == [1, 1, 1]
    assert "secret" not in "".join(said)
    assert said[0].startswith("Set DATABASE_URL, or type the connection string")
    assert said[1].startswith("DATABASE_URL has to be a connection string that starts with")
    assert command == "adopt" or "the connection string of the database's owner" in said[2]


def test_a_name_does_not_rule_the_terminal(old: OldDatabase) -> None:
    old.holds(INTEGERS).holds("""ALTER TABLE tasks ADD "a\nb\x1b[31m" int""")
    shown = old.adopt(ZONE="x")
    assert "\x1b" not in shown.stdout + shown.stderr + old.adopt(TABLE="a\n\x1b[31m").stderr
    assert re.search(r"columns .*a.b.\[31m: kept", old.adopted())


def test_the_api_sees_the_adopted_tasks_of_its_user(old: OldDatabase) -> None:
    old.holds(UUIDS).adopted()
    with psycopg.connect(old.url) as connection:
        for name, value in (("role", "task_api"), ("app.user_id", "alice")):
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))
        assert len(connection.execute("SELECT * FROM tasks").fetchall()) == 2


_SCHEMA: tuple[LiteralString, ...] = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    (
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
    ),
    (
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
        " WHERE attrelid = 'tasks'::regclass AND attnum > 0 ORDER BY attnum"
    ),
    (
        "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    ),
    "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1",
    "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    "SELECT name, checksum FROM schema_migrations ORDER BY version",
)
