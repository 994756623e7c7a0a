"""An environment's secrets are stored in Secrets Manager and nowhere else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bench.servers import Postgres
from deploy import secret_store
from deploy.database import check_connection_string
from deploy.environments import DeployError, Environment, read_environment
from deploy.secret_store import forget, owner_version, store_connection_strings, store_missing
from tests.aws import SecretsManager
from tests.functions.handlers import modules
from tests.planted import plant, uproot
from tests.running import ROOT

URL = "postgresql://owner:hush@ep-x-1-pooler.eu-central-1.aws.neon.tech/tasks?sslmode=require"
DATABASE, OWNER, JWT = "task-api/dev/database", "task-api/dev/owner", "task-api/dev/jwt"


@pytest.fixture
def dev() -> Environment:
    """Return an environment whose API connects as the owner."""
    return Environment("dev", "task-api-dev", {"DatabaseSecret": DATABASE, "JwtSecretId": JWT})


@pytest.fixture
def with_login(dev: Environment) -> Environment:
    """Return an environment whose API has a login of its own."""
    return changed(dev, parameters={**dev.parameters, "MigrationSecret": OWNER})


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connection strings that a person is going to type."""
    answers: list[str] = []
    monkeypatch.setattr(secret_store, "ask_owner_url", answers.pop)
    return answers


# -- what is stored ------------------------------------------------------------------------------


def test_a_first_deployment_stores_what_is_missing_and_the_next_one_changes_nothing(
    dev: Environment,
    secrets_manager: SecretsManager,
    typed: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed.append(URL)
    store_missing(dev)
    assert _said(capsys) == [f"Secret {DATABASE} is new", f"Secret {JWT} is new"]
    made = secrets_manager.text(JWT)
    assert len(made) >= 32
    store_missing(dev)  # nothing more is typed
    assert _said(capsys) == []
    assert (secrets_manager.text(DATABASE), secrets_manager.text(JWT)) == (URL, made)


def _said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_replaced_connection_string_is_a_later_version_of_the_secret(
    dev: Environment, secrets_manager: SecretsManager, capsys: pytest.CaptureFixture[str]
) -> None:
    store_connection_strings(dev, URL)
    before = owner_version(dev)
    _said(capsys)
    store_connection_strings(dev, URL.replace("hush", "new"))
    assert _said(capsys) == [f"Secret {DATABASE} has a new version"]
    assert secrets_manager.text(DATABASE) == URL.replace("hush", "new")
    after = owner_version(dev)
    assert after != before
    assert after.partition("/")[0] >= before.partition("/")[0]


def test_deleted_secrets_can_be_restored_for_a_week_and_stored_again(
    dev: Environment,
    secrets_manager: SecretsManager,
    typed: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed += [URL, URL]
    store_missing(dev)
    _said(capsys)
    forget(dev)
    assert _said(capsys) == [
        f"Secret {name} is deleted; it can be restored for 7 days" for name in (DATABASE, JWT)
    ]
    forget(dev)
    assert _said(capsys) == []
    before = _versions(secrets_manager)
    store_missing(dev)
    assert secrets_manager.text(DATABASE) == URL
    # A version of before with a label would still be good for the authorizer.
    assert len(_versions(secrets_manager)) == 1
    assert _versions(secrets_manager) != before


def _versions(secrets_manager: SecretsManager) -> set[str]:
    """Return the labelled versions of the tokens' secret."""
    stages = secrets_manager.client.describe_secret(SecretId=JWT)["VersionIdsToStages"]
    return {version for version, labels in stages.items() if labels}


# -- which connection strings --------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hush@db.localhost/tasks",
        "postgresql://u:hush@127.0.0.1/tasks",
        "postgresql://u:hush@192.168.1.1/tasks",
        "postgresql://u:hush@[fd00::1]/tasks",
        "postgresql://u:hush@/tasks",
        "postgresql://u:hush@%2Ftmp/tasks",
    ],
)
def test_an_address_that_aws_cannot_reach_is_refused(url: str) -> None:
    with pytest.raises(DeployError, match="AWS cannot reach the database") as caught:
        check_connection_string(url)
    assert "hush" not in str(caught.value)


def test_a_name_that_leads_into_a_private_network_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def private(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.20.30.40", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", private)
    with pytest.raises(DeployError, match="no public address"):
        check_connection_string("postgresql://u:hush@db.example.com/tasks")


@pytest.mark.parametrize(
    "url",
    ["mysql://u:hush@h/db", URL.replace("require", "disable")],
)
def test_an_unusable_connection_string_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(DeployError, match="The connection string cannot be used") as caught:
        check_connection_string(url)
    assert "hush" not in str(caught.value)


# -- the API's own login -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Run a Postgres that asks for passwords, with an owner who is no superuser, as on Neon."""
    with Postgres(tmp_path_factory.mktemp("logins")) as server:
        server.admin(
            "CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'hush'",
            "CREATE ROLE stranger LOGIN PASSWORD 'hush'",
        )
        yield server


@pytest.fixture
def owner_url(server: Postgres) -> Iterator[str]:
    """Return the owner's connection string of an empty database."""
    server.admin("CREATE DATABASE tasks OWNER owner")
    yield f"postgresql://owner:hush@127.0.0.1:{server.port}/tasks?application_name=kept"
    server.admin("DROP DATABASE tasks WITH (FORCE)")
    for name in ("task_api_dev_a", "task_api_dev_b", "task_api"):
        server.admin(f"DROP ROLE IF EXISTS {name}")


def _migrate(url: str) -> None:
    runner = modules("migrate")["runner"]
    runner.Runner(url, runner.migrations(ROOT / "functions" / "migrate" / "migrations")).run()


def _user(url: str) -> str:
    return str(urlsplit(url).username)


def test_the_apis_login_may_become_task_api_and_nothing_else(
    with_login: Environment,
    secrets_manager: SecretsManager,
    owner_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store_connection_strings(with_login, owner_url)
    assert _said(capsys)[-1] == "The API connects as task_api_dev_a from its next connection on"
    assert secrets_manager.text(OWNER) == owner_url
    own = secrets_manager.text(DATABASE)
    assert own.partition("@")[2] == owner_url.partition("@")[2]
    _migrate(owner_url)
    with psycopg.connect(own, autocommit=True) as api:
        for forbidden in ("SELECT FROM tasks", "SET ROLE owner", "CREATE TABLE public.t (x int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                api.execute(forbidden)
        api.execute("SET ROLE task_api")
        assert api.execute("SELECT count(*) FROM tasks").fetchone() == (0,)
        api.execute("RESET ROLE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("SELECT FROM tasks")


def test_each_replacement_uses_the_other_login_and_closes_the_former_one(
    with_login: Environment, secrets_manager: SecretsManager, owner_url: str
) -> None:
    store_connection_strings(with_login, owner_url)
    first = secrets_manager.text(DATABASE)
    with psycopg.connect(first, autocommit=True) as still_open:
        store_connection_strings(with_login, owner_url)
        assert still_open.execute("SELECT 1").fetchone() == (1,)
    second = secrets_manager.text(DATABASE)
    assert (_user(first), _user(second)) == ("task_api_dev_a", "task_api_dev_b")
    psycopg.connect(second).close()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(first)
    _migrate(owner_url)  # before it, task_api is made, too
    store_connection_strings(with_login, owner_url)
    third = secrets_manager.text(DATABASE)
    assert _user(third) == "task_api_dev_a"
    assert third != first
    with psycopg.connect(third) as api:
        api.execute("SET ROLE task_api")


@pytest.mark.parametrize(
    "excess",
    [
        "CREATE ROLE task_api_dev_a CREATEROLE",
        "CREATE ROLE task_api_dev_a; GRANT pg_read_all_data TO task_api_dev_a",
        "CREATE ROLE task_api_dev_a; CREATE TABLE t (); ALTER TABLE t OWNER TO task_api_dev_a",
    ],
)
def test_a_role_of_that_name_that_may_do_more_is_refused_and_nothing_is_stored(
    with_login: Environment,
    secrets_manager: SecretsManager,
    owner_url: str,
    server: Postgres,
    excess: str,
) -> None:
    with psycopg.connect(server.admin_url, dbname="tasks", autocommit=True) as admin:
        admin.execute(excess)
        admin.execute("GRANT task_api_dev_a TO owner WITH ADMIN OPTION")
    with pytest.raises(DeployError, match="task_api_dev_a may do more than task_api"):
        store_connection_strings(with_login, owner_url)
    assert secrets_manager.client.list_secrets()["SecretList"] == []


def test_a_login_that_another_stack_may_use_is_refused_and_keeps_its_password(
    with_login: Environment, secrets_manager: SecretsManager, owner_url: str
) -> None:
    """Until the other stack is destroyed, also when it uses its second login."""
    names = {"DatabaseSecret": "other/database", "MigrationSecret": "other/owner"}
    second = changed(with_login, parameters={**with_login.parameters, **names})
    for login in ("task_api_dev_a", "task_api_dev_b"):
        store_connection_strings(with_login, owner_url)
        with pytest.raises(DeployError, match=f"The login {login} is there, and no secret"):
            store_connection_strings(second, owner_url)
        psycopg.connect(secrets_manager.text(DATABASE)).close()
    forget(with_login)
    store_connection_strings(second, owner_url)
    psycopg.connect(secrets_manager.text("other/database")).close()


def test_what_a_login_has_set_for_itself_is_undone_and_its_password_was_never_sent(
    with_login: Environment, secrets_manager: SecretsManager, owner_url: str, server: Postgres
) -> None:
    server.admin("ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    store_connection_strings(with_login, owner_url)
    login = secrets_manager.text(DATABASE)
    with psycopg.connect(login, autocommit=True) as api:
        api.execute("ALTER ROLE task_api_dev_a SET search_path = elsewhere")
        api.execute("ALTER ROLE task_api_dev_a IN DATABASE tasks SET work_mem = '64kB'")
    for _ in range(2):
        store_connection_strings(with_login, owner_url)
    assert server.admin("SELECT setrole, setconfig FROM pg_db_role_setting") == []
    log = server._log.read_text()
    assert 'ALTER ROLE "task_api_dev_a" LOGIN' in log
    for url in (login, secrets_manager.text(DATABASE)):
        assert str(conninfo_to_dict(url)["password"]) not in log
    server.admin("ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")


def test_only_roles_that_may_act_as_task_api_can_connect(
    with_login: Environment, secrets_manager: SecretsManager, owner_url: str
) -> None:
    store_connection_strings(with_login, owner_url)
    psycopg.connect(secrets_manager.text(DATABASE)).close()
    url = owner_url.replace("owner:", "stranger:")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url)


def test_destroying_closes_the_logins_and_ends_their_connections(
    with_login: Environment, secrets_manager: SecretsManager, owner_url: str
) -> None:
    store_connection_strings(with_login, owner_url)
    login = secrets_manager.text(DATABASE)
    with psycopg.connect(login, autocommit=True) as api:
        forget(with_login)
        with pytest.raises(psycopg.OperationalError):
            api.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(login)


def test_code_that_somebody_planted_does_not_run_while_the_login_is_made(
    with_login: Environment, secrets_manager: SecretsManager, server: Postgres
) -> None:
    server.admin("CREATE DATABASE planted")
    url = server.url_for("postgres", "planted")
    plant(url)
    store_connection_strings(with_login, url)
    assert not uproot(url)
    assert secrets_manager.text(OWNER) == url
    server.admin("DROP DATABASE planted")
    for name in ("task_api_dev_a", "task_api"):
        server.admin(f"DROP ROLE {name}")


def test_an_owner_who_may_make_no_role_is_told_so_without_the_password(
    with_login: Environment, secrets_manager: SecretsManager, owner_url: str
) -> None:
    url = owner_url.replace("owner:", "stranger:")
    with pytest.raises(DeployError, match="cannot be changed: permission denied") as caught:
        store_connection_strings(with_login, url)
    assert "hush" not in str(caught.value)
    assert secrets_manager.client.list_secrets()["SecretList"] == []


# -- environments --------------------------------------------------------------------------------


def test_an_environment_that_is_not_there_is_named_beside_those_that_are() -> None:
    with pytest.raises(DeployError, match="'test'; ENV is one of dev, staging, prod"):
        read_environment(Path("samconfig.toml"), "test")


def test_migrate_reads_the_owners_secret_where_there_is_one(
    dev: Environment, with_login: Environment, secrets_manager: SecretsManager
) -> None:
    for environment, name in ((dev, DATABASE), (with_login, OWNER)):
        secrets_manager.create(name, URL)
        (version,) = secrets_manager.client.describe_secret(SecretId=name)["VersionIdsToStages"]
        assert owner_version(environment).endswith(f"Z/{version}")
