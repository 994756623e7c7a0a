"""The database isolates users from each other, even where a statement forgets its condition."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

import neon
from tasks import batch, store
from tasks import database as tasks_database
from tasks.database import acting_as
from tasks.errors import OperationRefusedError, TaskNotFoundError
from tasks.idempotency import Preconditions
from tasks.models import Task, TaskCreate, TaskUpdate
from tasks.paging import PageRequest
from tests.functions.handlers import Context, as_sent, handler
from tests.identity.conftest import Cluster, execute, migrate
from tests.identity.harness import use_database
from tests.routes import TASK_ROUTES, Route
from tests.running import ROOT
from tests.tasks.conftest import forget

_OWN = re.compile(r"\buser_id\s*=\s*(%s|%\(user_id\)s)")
_READS = re.compile(r"\b(FROM|UPDATE|JOIN)\s+(tasks|idempotency_keys)\b")
_INSERT = "INSERT INTO tasks (user_id, id, title) VALUES ('{}', gen_random_uuid(), 'A')"
_COUNT = "SELECT count(*)::int FROM tasks"
_ACT = "SELECT set_config('role', 'task_api', false)"


@pytest.fixture(params=["owner", "login"])
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

    def run(self, *statements: neon.Statement, **options: Any) -> list[list[neon.Row]]:
        return self._database.run(*map(self._without_user, statements), **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def _without_user(self, statement: neon.Statement) -> neon.Statement:
        sql, times = _OWN.subn(r"(\1)::text IS NOT NULL", statement.sql)
        assert times or not _READS.search(sql), f"found no condition to remove: {sql}"
        return statement._replace(sql=sql)


@pytest.fixture
def careless(database: neon.Database, monkeypatch: pytest.MonkeyPatch) -> Careless:
    rewriting = Careless(database)
    use_database(monkeypatch, lambda: rewriting)
    return rewriting


def rows(url: str) -> list[tuple[object, ...]]:
    return execute(url, "SELECT user_id, id, title, completed, updated_at FROM tasks ORDER BY 1, 2")


def listed(user: str) -> list[Task]:
    return store.list_page(user, PageRequest()).tasks


def one_each(*users: str) -> dict[str, Task]:
    return {user: store.create(user, TaskCreate(title=f"{user}'s")).value for user in users}


@pytest.mark.usefixtures("careless")
def test_a_list_without_its_condition_still_shows_only_the_callers_rows() -> None:
    made = one_each("alice", "bob")
    assert [listed("alice"), listed("carol")] == [[made["alice"]], []]


def toggle_in_a_batch(user: str, id_: UUID) -> None:
    """Toggle the task. Raise the error of the operation."""
    wanted = batch.Batch.model_validate({"operations": [{"op": "toggle", "id": id_}]})
    try:
        batch.run(user, wanted, [None])
    except OperationRefusedError as refused:
        raise refused.reason from None


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize(
    "operate",
    [
        store.get,
        lambda user, id_: store.update(user, id_, TaskUpdate(title="Mine now")),
        store.toggle,
        store.delete,
        toggle_in_a_batch,
        lambda user, id_: store.delete(user, id_, Preconditions(key="k")),
    ],
    ids=["get", "update", "toggle", "delete", "batch", "delete once"],
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
@pytest.mark.parametrize("route", TASK_ROUTES, ids=lambda route: route.key)
def test_every_statement_of_every_route_names_the_user(route: Route) -> None:
    request = as_sent(route, "alice", str(one_each("alice")["alice"].id))
    answer = handler(route.folder)(request, Context())
    assert answer["statusCode"] in (200, 201), f"{route.folder}: name user_id in its SQL"


@pytest.mark.parametrize(
    "sql",
    [
        _INSERT.format("bob"),
        "UPDATE tasks SET user_id = 'bob'",
        "DROP TABLE tasks",
        "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
        "SELECT * FROM schema_migrations",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE ROLE mine BYPASSRLS",
    ],
)
def test_the_acting_role_cannot_take_the_walls_down(
    database: neon.Database, urls: dict[str, str], sql: str
) -> None:
    one_each("alice")
    before = rows(urls["superuser"])
    with pytest.raises(neon.StatementError) as refused:
        database.run(neon.Statement(sql), effect=neon.Effect.ONCE, settings=acting_as("alice"))
    assert refused.value.sqlstate == "42501"
    assert rows(urls["superuser"]) == before


def test_without_a_user_nothing_is_visible_or_written(urls: dict[str, str]) -> None:
    execute(urls["superuser"], "TRUNCATE tasks", _INSERT.format("bob"))
    for user in ("SELECT", "SELECT set_config('app.user_id', '', false)"):
        assert execute(urls["login"], _ACT, user, _COUNT) == [(0,)]
        assert execute(urls["login"], _ACT, user, "DELETE FROM tasks RETURNING id") == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(urls["login"], _ACT, user, _INSERT.format("bob"))


def test_neither_role_nor_user_outlives_its_transaction(database: neon.Database) -> None:
    one_each("alice")
    left = "SELECT current_user = session_user AS back, current_setting('app.user_id', true) AS who"
    assert database.run(neon.Statement(left), effect=neon.Effect.READ) == [
        [{"back": True, "who": ""}]
    ]


# --- what the migrations give and take ------------------------------------------------------------


def test_the_login_that_the_documentation_makes_may_act(
    urls: dict[str, str], server: Cluster
) -> None:
    text = (ROOT / "docs" / "identity.md").read_text()
    ((statement, name),) = re.findall(r"^(CREATE ROLE (\w+) .+;)$", text, re.MULTILINE)
    execute(urls["owner"], statement)
    assert execute(server.url_for(name, "shop"), _ACT, "SELECT user_id FROM tasks") == []


def test_a_role_of_that_name_that_may_bypass_stops_the_migration(
    urls: dict[str, str], server: Cluster
) -> None:
    assert urls
    execute(server.url, "CREATE DATABASE refused", "ALTER ROLE task_api BYPASSRLS")
    try:
        with pytest.raises(Exception, match="task_api may bypass row-level security"):
            migrate(server.url_for("postgres", "refused"))
    finally:
        execute(server.url, "ALTER ROLE task_api NOBYPASSRLS")


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


def test_nobody_has_a_right_that_the_migrations_do_not_give(
    urls: dict[str, str], server: Cluster
) -> None:
    """Default privileges of the owner give away everything that they can."""
    assert urls
    execute(
        server.url,
        "CREATE ROLE stranger",
        "CREATE ROLE giver LOGIN CREATEROLE",
        "CREATE DATABASE given OWNER giver",
        "GRANT task_api TO giver WITH ADMIN OPTION",
    )
    url = server.url_for("giver", "given")
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


# --- which logins the API refuses -----------------------------------------------------------------


@pytest.fixture
def connected_as(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., neon.Database]]:
    """Return a function that connects the tasks' database for a login, as a deployment would."""

    opened: list[neon.Database] = []

    def connect(url: str, allow_owner_login: str = "") -> neon.Database:
        forget()
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("ALLOW_OWNER_LOGIN", allow_owner_login)
        opened.append(tasks_database.database())
        return opened[-1]

    yield connect
    for each in opened:
        each.close()
    forget()


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


@pytest.mark.parametrize(
    "excess",
    [
        "ALTER ROLE greedy SET search_path = elsewhere",
        "ALTER ROLE greedy BYPASSRLS",
        "ALTER ROLE greedy CREATEROLE",
        "GRANT shop_owner TO greedy",
        "GRANT pg_read_server_files TO greedy",
        "GRANT TRUNCATE ON tasks TO greedy",
        "GRANT TRIGGER ON idempotency_keys TO PUBLIC",
        "GRANT REFERENCES ON tasks TO task_api",
    ],
)
def test_a_login_that_may_do_more_than_act_is_refused(
    connected_as: Callable[..., neon.Database], urls: dict[str, str], server: Cluster, excess: str
) -> None:
    execute(urls["superuser"], "CREATE ROLE greedy LOGIN NOINHERIT IN ROLE task_api", excess)
    url = server.url_for("greedy", "shop")
    connected_as(url)
    try:
        with pytest.raises(neon.ConfigurationError):
            listed("alice")
        if "search_path" in excess:  # an owner is refused, too
            connected_as(url, allow_owner_login="true")
            with pytest.raises(neon.ConfigurationError, match="search_path may be wrong"):
                tasks_database.ping()
    finally:
        rest = re.sub(r"^GRANT (\w+ ON) (.*) TO (.*)$", r"REVOKE \1 \2 FROM \3", excess)
        execute(urls["superuser"], rest, "DROP OWNED BY greedy", "DROP ROLE greedy")


def test_the_recommended_login_serves_and_the_question_costs_no_round_trip(
    connected_as: Callable[..., neon.Database], urls: dict[str, str]
) -> None:
    opened = connected_as(urls["login"])
    assert [listed("nobody"), listed("nobody")] == [[], []]
    assert opened.telemetry.round_trips == 2
