"""The database isolates users from each other, even where a statement forgets its condition."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

import neon
from tasks import database as tasks_database
from tasks import store
from tasks.database import acting_as
from tasks.errors import TaskNotFoundError
from tasks.idempotency import Preconditions
from tasks.models import Task, TaskCreate, TaskUpdate
from tasks.paging import PageRequest
from tasks.settings import settings
from tests.identity.conftest import (
    Cluster,
    cluster,
    execute,
    migrate,
    neon_like,
    postgres_versions,
)
from tests.identity.harness import use_database
from tests.running import ROOT

_OWN = re.compile(r"\buser_id\s*=\s*(%s|%\(user_id\)s)")
_READS = re.compile(r"\b(FROM|UPDATE|JOIN)\s+(tasks|idempotency_keys)\b")
_INSERT = "INSERT INTO tasks (user_id, id, title) VALUES ('{}', gen_random_uuid(), 'A')"
_COUNT = "SELECT count(*)::int FROM tasks"


@pytest.fixture(params=["owner", "login", "superuser"])
def database(
    request: pytest.FixtureRequest, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[neon.Database]:
    """Return the tasks' database, empty, through each kind of role that DATABASE_URL may name."""
    execute(urls["superuser"], "TRUNCATE tasks")
    opened = neon.Database(urls[request.param])
    use_database(monkeypatch, lambda: opened)
    yield opened
    opened.close()


class Careless:
    """The database, as if somebody had removed the user from the condition of every statement."""

    def __init__(self, database: neon.Database) -> None:
        self._database = database
        self.rewritten: list[str] = []

    def run(self, *statements: neon.Statement, **options: Any) -> list[list[neon.Row]]:
        return self._database.run(*map(self._without_user, statements), **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def _without_user(self, statement: neon.Statement) -> neon.Statement:
        sql, times = _OWN.subn(r"(\1)::text IS NOT NULL", statement.sql)
        assert times or not _READS.search(sql), f"found no condition to remove: {sql}"
        self.rewritten.append(sql)
        return statement._replace(sql=sql)


@pytest.fixture
def careless(database: neon.Database, monkeypatch: pytest.MonkeyPatch) -> Careless:
    rewriting = Careless(database)
    use_database(monkeypatch, lambda: rewriting)
    return rewriting


def rows(url: str) -> list[tuple[object, ...]]:
    return execute(url, "SELECT user_id, id, title, completed, updated_at FROM tasks ORDER BY 1, 2")


def listed(user: str, **wanted: Any) -> list[Task]:
    return store.list_page(user, PageRequest(**wanted)).tasks


def one_each(*users: str) -> dict[str, Task]:
    return {user: store.create(user, TaskCreate(title=f"{user}'s")).value for user in users}


def test_a_list_without_its_condition_still_shows_only_the_callers_rows(careless: Careless) -> None:
    made = one_each("alice", "bob")
    assert listed("alice") == [made["alice"]]
    assert listed("carol") == []
    assert listed("alice", q="bob") == []
    assert "IS NOT NULL" in careless.rewritten[-1]


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize(
    "operate",
    [
        store.get,
        lambda user, id_: store.update(user, id_, TaskUpdate(title="Mine now")),
        store.toggle,
        store.delete,
        lambda user, id_: store.update(user, id_, TaskUpdate(title="Mine"), Preconditions(key="k")),
        lambda user, id_: store.toggle(user, id_, Preconditions(key="k")),
        lambda user, id_: store.delete(user, id_, Preconditions(key="k")),
    ],
    ids=["get", "update", "toggle", "delete", "update once", "toggle once", "delete once"],
)
def test_an_operation_without_its_condition_neither_finds_nor_changes_anothers_task(
    operate: Callable[[str, UUID], object], urls: dict[str, str]
) -> None:
    made = one_each("alice", "bob")
    before = rows(urls["superuser"])
    with pytest.raises(TaskNotFoundError):
        operate("alice", made["bob"].id)
    assert rows(urls["superuser"]) == before
    operate("bob", made["bob"].id)


@pytest.mark.usefixtures("careless")
def test_no_statement_of_the_store_reaches_the_database_without_the_acting_user(
    database: neon.Database, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_each("bob")
    without_user = {"role": "task_api"}
    monkeypatch.setattr(tasks_database, "acting_as", lambda _user: without_user)
    assert listed("bob") == []
    with refused():
        one_each("bob")
    database.close()
    assert len(rows(urls["superuser"])) == 1


def test_a_row_can_be_neither_made_for_nor_given_to_somebody_else(
    database: neon.Database, urls: dict[str, str]
) -> None:
    one_each("alice")
    before = rows(urls["superuser"])
    for sql in (
        _INSERT.format("bob"),
        "UPDATE tasks SET user_id = 'bob'",
    ):
        with refused():
            run_as(database, "alice", sql)
    assert rows(urls["superuser"]) == before


@contextmanager
def refused(sqlstate: str = "42501") -> Iterator[None]:
    """Expect Postgres to refuse: for a missing privilege by default, or for row-level security."""
    with pytest.raises(neon.StatementError) as error:
        yield
    assert error.value.sqlstate == sqlstate


def run_as(database: neon.Database, user_id: str, sql: str) -> list[neon.Row]:
    statement = neon.Statement(sql)
    settings = acting_as(user_id)
    return database.run(statement, effect=neon.Effect.ONCE, settings=settings)[0]


def test_the_statements_run_as_a_role_that_owns_and_bypasses_nothing(
    database: neon.Database,
) -> None:
    (row,) = run_as(
        database,
        "alice",
        """
        SELECT current_user AS role, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,
               rolcanlogin, rolreplication, row_security_active('tasks') AS secured,
               (SELECT count(*)::int FROM pg_class WHERE relowner = me.oid) AS owned
        FROM pg_roles AS me WHERE rolname = current_user
        """,
    )
    assert row.pop("role") == "task_api"
    assert row.pop("secured") is True
    assert not any(row.values())


@pytest.mark.parametrize(
    "sql",
    [
        "TRUNCATE tasks",
        "DROP TABLE tasks",
        "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY own_tasks ON tasks",
        "CREATE POLICY everything ON tasks USING (true)",
        "CREATE RULE nothing AS ON INSERT TO tasks DO INSTEAD NOTHING",
        "CREATE TABLE peek (user_id text, id uuid, FOREIGN KEY (user_id, id) REFERENCES tasks)",
        "SELECT * FROM schema_migrations",
        "LOCK TABLE schema_migrations IN ACCESS SHARE MODE",
        "CREATE TEMPORARY TABLE mine ()",
        "SELECT purge_expired_keys()",
        "CREATE ROLE mine BYPASSRLS",
        "ALTER ROLE task_api BYPASSRLS",
    ],
)
def test_the_acting_role_cannot_take_the_walls_down(database: neon.Database, sql: str) -> None:
    with refused():
        run_as(database, "alice", sql)


def test_where_a_superuser_migrates_the_acting_role_can_make_no_large_object(
    server: Cluster,
) -> None:
    """Postgres allows only a superuser to take that right away."""
    execute(server.url, "CREATE DATABASE large")
    url = server.url_for("postgres", "large")
    migrate(url)
    for make in ("lo_create(0)", "lo_creat(-1)", "lo_from_bytea(0, 'x')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(url, _ACT, f"SELECT {make}")


def test_switching_row_security_off_is_an_error_and_not_a_way_around(
    database: neon.Database,
) -> None:
    one_each("bob")
    settings = {"row_security": "off", **acting_as("alice")}
    with refused():
        database.run(
            neon.Statement("SELECT * FROM tasks"), effect=neon.Effect.READ, settings=settings
        )


@pytest.mark.parametrize("user_id", ["", None])
def test_without_a_user_nothing_is_visible_or_written(
    urls: dict[str, str], user_id: str | None
) -> None:
    execute(
        urls["superuser"],
        "TRUNCATE tasks",
        _INSERT.format("bob"),
    )
    with psycopg.connect(urls["login"], autocommit=True) as connection:
        connection.execute("SELECT set_config('role', 'task_api', false)")
        if user_id is not None:
            connection.execute("SELECT set_config('app.user_id', %s, false)", (user_id,))
        assert connection.execute(_COUNT).fetchall() == [(0,)]
        assert connection.execute("DELETE FROM tasks").rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(_INSERT.format("bob"))


def test_neither_role_nor_user_outlives_its_transaction(database: neon.Database) -> None:
    one_each("alice")
    ((row,),) = database.run(
        neon.Statement(
            """
            SELECT current_user = session_user AS back, current_setting('app.user_id', true) AS who
            """
        ),
        effect=neon.Effect.READ,
    )
    assert row == {"back": True, "who": ""}


def test_neither_role_nor_user_outlives_a_transaction_that_fails(database: neon.Database) -> None:
    with refused("22012"):
        run_as(database, "alice", "SELECT 1/0")
    ((row,),) = database.run(
        neon.Statement("SELECT current_user = session_user AS back"), effect=neon.Effect.READ
    )
    assert row == {"back": True}


@pytest.mark.usefixtures("database")
def test_a_user_id_is_compared_and_never_read_as_sql_or_as_a_pattern() -> None:
    names = [
        "alice",
        "%",
        "_____",
        "alice'--",
        "' OR '1'='1",
        "alice ",
        "ALICE",
        "andr\u00e9",
        "andre\u0301",
    ]
    made = one_each(*names)
    for name in names:
        assert listed(name) == [made[name]]


def test_role_and_user_travel_in_the_same_round_trip_as_the_statement(
    database: neon.Database, tmp_path: Path
) -> None:
    one_each("alice")
    assert database._connection is not None
    pgconn = database._connection._pgconn
    path = tmp_path / "trace"
    with path.open("w") as trace:
        pgconn.trace(trace.fileno())
        assert listed("alice")
        pgconn.untrace()
    messages = [line.split("\t")[1:4:2] for line in path.read_text().splitlines()]
    assert messages.count(["F", "Sync"]) == 1
    assert messages.count(["B", "ReadyForQuery"]) == 1


# --- the login role, alone -----------------------------------------------------------------------


def test_the_recommended_login_can_do_nothing_but_act(urls: dict[str, str]) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(urls["login"], _COUNT)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(urls["login"], "CREATE TABLE mine ()")
    owner = execute(urls["superuser"], "SELECT tableowner FROM pg_tables WHERE tablename = 'tasks'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(urls["login"], f"SET ROLE {owner[0][0]}")


def test_the_login_that_the_documentation_makes_may_act(
    traps: dict[str, str], any_server: Cluster
) -> None:
    text = (ROOT / "docs" / "identity.md").read_text()
    ((statement, name),) = re.findall(r"^(CREATE ROLE (\w+) .+;)$", text, re.MULTILINE)
    execute(traps["owner"], statement)
    url = any_server.url_for(name, "traps")
    assert execute(url, _ACT, _ALICE, "SELECT user_id FROM tasks") == [("alice",)]


def test_health_needs_no_user(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for url in urls.values():
        with closing(neon.Database(url)) as opened:
            use_database(monkeypatch, partial(lambda same: same, opened))
            tasks_database.ping()


def test_every_table_that_the_acting_role_may_touch_has_forced_row_level_security(
    urls: dict[str, str],
) -> None:
    touched = execute(
        urls["superuser"],
        """
        SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,
               count(p.polname) > 0
               AND bool_and(p.polqual IS NOT NULL AND p.polwithcheck IS NOT NULL)
        FROM pg_class AS c LEFT JOIN pg_policy AS p ON p.polrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND has_table_privilege('task_api', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
        GROUP BY c.oid
        """,
    )
    assert ("tasks", True, True, True) in touched
    # The function that purges these runs as their owner and has to see the rows of all users.
    unforced = {"idempotency_keys"}
    for name, secured, forced, policies in touched:
        assert (name, secured, forced or name in unforced, policies) == (name, True, True, True)


# --- which logins the API refuses -----------------------------------------------------------------


@pytest.fixture
def connected_as(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], neon.Database]]:
    """Return a function that connects the tasks' database for a login, as a deployment would."""

    def connect(url: str, allow_owner_login: str = "") -> neon.Database:
        forget()
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("ALLOW_OWNER_LOGIN", allow_owner_login)
        return tasks_database.database()

    yield connect
    forget()


def forget() -> None:
    """Close the database, so that it and the settings are read from the environment again."""
    if tasks_database.database.cache_info().currsize:
        tasks_database.database().close()
    settings.cache_clear()
    tasks_database.database.cache_clear()


@pytest.mark.parametrize("who", ["owner", "superuser"])
def test_a_login_that_row_level_security_does_not_bind_is_refused(
    connected_as: Callable[..., neon.Database], urls: dict[str, str], who: str
) -> None:
    connected_as(urls[who])
    for _ in range(2):
        with pytest.raises(neon.ConfigurationError):
            tasks_database.ping()
        with pytest.raises(neon.ConfigurationError):
            listed("alice")
    connected_as(urls[who], allow_owner_login="true")
    tasks_database.ping()


@pytest.mark.parametrize("allow_owner_login", ["", "true"])
def test_a_login_whose_search_path_hides_the_tasks_is_refused(
    connected_as: Callable[..., neon.Database],
    urls: dict[str, str],
    server: Cluster,
    allow_owner_login: str,
) -> None:
    made = "CREATE ROLE lost LOGIN NOINHERIT IN ROLE task_api"
    execute(urls["superuser"], made, "ALTER ROLE lost SET search_path = elsewhere")
    connected_as(server.url_for("lost", "shop"), allow_owner_login=allow_owner_login)
    try:
        with pytest.raises(neon.ConfigurationError, match="search_path may be wrong"):
            tasks_database.ping()
    finally:
        forget()
        execute(urls["superuser"], "DROP ROLE lost")


@pytest.mark.parametrize(
    "excess",
    [
        "ALTER ROLE greedy BYPASSRLS",
        "ALTER ROLE greedy REPLICATION",
        "ALTER ROLE greedy CREATEROLE",
        "ALTER ROLE greedy CREATEDB",
        "GRANT shop_owner TO greedy",
        "GRANT pg_read_server_files TO greedy",
        "GRANT pg_write_server_files TO greedy",
        "GRANT pg_execute_server_program TO greedy",
        "GRANT TRUNCATE ON tasks TO greedy",
        "GRANT TRIGGER ON idempotency_keys TO PUBLIC",
        "GRANT REFERENCES ON tasks TO task_api",
    ],
)
def test_a_login_that_may_do_more_than_act_is_refused(
    connected_as: Callable[..., neon.Database],
    urls: dict[str, str],
    server: Cluster,
    excess: str,
) -> None:
    execute(urls["superuser"], "CREATE ROLE greedy LOGIN NOINHERIT IN ROLE task_api", excess)
    connected_as(server.url_for("greedy", "shop"))
    try:
        with pytest.raises(neon.ConfigurationError):
            listed("alice")
    finally:
        forget()
        rest = re.sub(r"^GRANT (\w+ ON) (.*) TO (.*)$", r"REVOKE \1 \2 FROM \3", excess)
        execute(urls["superuser"], rest, "DROP OWNED BY greedy", "DROP ROLE greedy")


def test_nobody_has_a_right_that_the_migrations_do_not_give(any_server: Cluster) -> None:
    """Default privileges of the owner give away everything that they can."""
    execute(
        any_server.url,
        "CREATE ROLE stranger",
        "CREATE ROLE giver LOGIN CREATEROLE",
        "CREATE DATABASE given OWNER giver",
        "GRANT task_api TO giver WITH ADMIN OPTION",
    )
    url = any_server.url_for("giver", "given")
    for kind in ("TABLES", "FUNCTIONS", "SEQUENCES", "TYPES"):
        everybody = "PUBLIC, stranger, task_api"
        execute(url, f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO {everybody}")
    migrate(url)
    assert execute(url, _RIGHTS) == [
        ("idempotency_keys", "task_api", "INSERT, SELECT, UPDATE"),
        ("refuse_privileged_login()", "-", "EXECUTE"),
        ("tasks", "task_api", "DELETE, INSERT, SELECT, UPDATE"),
    ]


_RIGHTS = """
    SELECT name, grantee::regrole::text, string_agg(privilege_type, ', ' ORDER BY privilege_type)
    FROM (
        SELECT oid::regclass::text, relacl, relowner FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), proowner
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT attname, attacl, 0 FROM pg_attribute
        WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    ) AS ours (name, acl, owner), aclexplode(ours.acl)
    WHERE grantee <> ours.owner GROUP BY name, grantee ORDER BY 1, 2
"""


def test_the_recommended_login_serves_and_the_question_costs_no_round_trip(
    connected_as: Callable[..., neon.Database], urls: dict[str, str]
) -> None:
    opened = connected_as(urls["login"])
    assert listed("nobody") == []
    assert listed("nobody") == []
    assert opened.telemetry.round_trips == 2


# --- Postgres' own traps, on each version of it --------------------------------------------------


@pytest.fixture(scope="module")
def traps(any_server: Cluster) -> dict[str, str]:
    """Return the URLs of a migrated database with a row each of alice and bob, by who connects."""
    owner, login = neon_like(any_server, "traps")
    superuser = any_server.url_for("postgres", "traps")
    for user in ("alice", "bob"):
        execute(superuser, _INSERT.format(user))
    return {"owner": owner, "login": login, "superuser": superuser}


_ALICE = "SELECT set_config('app.user_id', 'alice', false)"
_ACT = "SELECT set_config('role', 'task_api', false)"


@pytest.mark.parametrize("who", ["owner", "login", "superuser"])
def test_after_the_switch_only_the_users_rows_are_seen_whoever_connected(
    traps: dict[str, str], who: str
) -> None:
    assert execute(traps[who], _ACT, _ALICE, "SELECT user_id FROM tasks") == [("alice",)]


@pytest.mark.parametrize("who", ["owner", "superuser"])
def test_without_the_switch_a_role_that_bypasses_sees_everything(
    traps: dict[str, str], who: str
) -> None:
    assert execute(traps[who], _ALICE, _COUNT) == [(2,)]


def test_an_owner_who_bypasses_nothing_is_held_by_force(traps: dict[str, str]) -> None:
    name = psycopg.conninfo.conninfo_to_dict(traps["owner"])["user"]
    execute(traps["superuser"], f"ALTER ROLE {name} NOBYPASSRLS")
    try:
        assert execute(traps["owner"], _ACT, "RESET ROLE", _COUNT) == [(0,)]
        execute(traps["owner"], "ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY")
        assert execute(traps["owner"], _COUNT) == [(2,)], (
            "without FORCE the owner has to see all rows"
        )
    finally:
        execute(traps["owner"], "ALTER TABLE tasks FORCE ROW LEVEL SECURITY")
        execute(traps["superuser"], f"ALTER ROLE {name} BYPASSRLS")


def test_a_login_that_bypasses_by_its_own_attribute_is_still_held_after_the_switch(
    traps: dict[str, str], any_server: Cluster
) -> None:
    execute(traps["superuser"], "CREATE ROLE bypasser LOGIN BYPASSRLS IN ROLE task_api")
    url = any_server.url_for("bypasser", "traps")
    assert execute(url, _ACT, _ALICE, "SELECT user_id FROM tasks") == [("alice",)]


def test_a_view_of_the_owner_would_bypass_and_is_not_granted(traps: dict[str, str]) -> None:
    execute(traps["owner"], "CREATE VIEW all_tasks AS SELECT * FROM tasks")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(traps["login"], _ACT, _ALICE, "SELECT * FROM all_tasks")


def test_a_role_of_that_name_that_may_bypass_stops_the_migration(any_server: Cluster) -> None:
    execute(any_server.url, "CREATE DATABASE refused", "ALTER ROLE task_api BYPASSRLS")
    try:
        with pytest.raises(Exception, match="task_api may bypass row-level security"):
            migrate(any_server.url_for("postgres", "refused"))
    finally:
        execute(any_server.url, "ALTER ROLE task_api NOBYPASSRLS")
    assert migrate(any_server.url_for("postgres", "refused"))[-1].startswith("000")


def test_migrating_a_second_time_does_nothing(traps: dict[str, str]) -> None:
    assert migrate(traps["owner"]) == []


@pytest.fixture(params=postgres_versions(), ids=lambda path: path.parent.name)
def untouched(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Return a cluster without the role `task_api`."""
    with cluster(request.param) as running:
        yield running


def test_a_database_can_be_migrated_while_another_one_makes_the_role(untouched: Cluster) -> None:
    """A role belongs to the whole cluster, and the runner's lock to one database only."""
    execute(untouched.url, "CREATE DATABASE second")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(untouched.url) as first:
        first.execute("CREATE ROLE task_api NOLOGIN")
        second = pool.submit(migrate, untouched.url_for("postgres", "second"))
        wait_until_blocked(untouched, second)
        first.commit()
        assert "0001_role" in second.result()


def wait_until_blocked(running: Cluster, other: Future[Any]) -> None:
    """Return when the other runner's backend waits for a lock."""
    waiting = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while execute(running.url, waiting) == [(0,)]:
        assert not other.done(), "the other runner ended without waiting"


def test_two_runners_of_one_database_share_the_work(untouched: Cluster) -> None:
    with ThreadPoolExecutor(2) as pool:
        applied = [*pool.map(migrate, [untouched.url] * 2)]
    assert sorted(applied[0] + applied[1]) == sorted(migrate_names())


def migrate_names() -> list[str]:
    return [path.stem for path in (ROOT / "functions/migrate/migrations").glob("*.sql")]
