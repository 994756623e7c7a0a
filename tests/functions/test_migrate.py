"""Migrations run once each, in order, and forward only, also when two runners start together."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from local.postgres import Postgres
from neon import direct_connection, direct_transaction
from tests.functions.handlers import modules
from tests.planted import plant, uproot
from tests.running import ROOT

OWN = ROOT / "functions" / "migrate" / "migrations"
ONE = {"0001_one": "CREATE TABLE public.one (x int)"}
TWO = {"0002_two": "CREATE TABLE public.two (x int)"}


@pytest.fixture(scope="module")
def runner() -> Any:
    """Return the module that applies migrations."""
    return modules("migrate")["runner"]


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    """Return an empty database."""
    return new_database()


def _folder(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.sql").write_text(text)
    return tmp_path


def _run(runner: Any, url: str, folder: Path, seconds: float = 0.0) -> list[str]:
    names: list[str] = runner.Runner(url, runner.migrations(folder), seconds=seconds).run()
    return names


def _rows(url: str, *statements: LiteralString) -> list[tuple[Any, ...]]:
    """Run the statements, and return the rows of the last one, if it has any."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


# -- which migrations are applied ----------------------------------------------------------------


def test_each_run_applies_what_is_missing_and_a_further_run_nothing(
    runner: Any, url: str, tmp_path: Path
) -> None:
    assert _run(runner, url, _folder(tmp_path, ONE)) == ["0001_one"]
    assert _run(runner, url, _folder(tmp_path, TWO)) == ["0002_two"]
    assert _run(runner, url, tmp_path) == []
    (tmp_path / "0002_two.sql").unlink()  # older files: the database stays where it is
    assert _run(runner, url, tmp_path) == []
    assert _rows(url, "SELECT * FROM public.two") == []


def test_runners_at_the_same_time_apply_each_migration_once(
    runner: Any, url: str, tmp_path: Path
) -> None:
    steps = {
        f"{n:04}_step": f"CREATE TABLE public.t{n} (x int); INSERT INTO public.t{n} VALUES (1);"
        for n in range(1, 9)
    }
    folder = _folder(tmp_path, steps)
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: _run(runner, url, folder), range(4)))
    assert sorted(name for names in applied for name in names) == sorted(steps)
    assert _rows(url, "SELECT count(*) FROM public.t8") == [(1,)]


def test_a_migration_that_fails_leaves_nothing_of_itself_and_keeps_the_earlier(
    runner: Any, url: str, tmp_path: Path
) -> None:
    broken = "CREATE TABLE public.two (x int); SELECT 1/0;"
    folder = _folder(tmp_path, ONE | {"0002_two": broken})
    with pytest.raises(runner.MigrationError, match="0002_two failed: division by zero"):
        _run(runner, url, folder)
    assert _rows(url, "SELECT to_regclass('one'), to_regclass('two')") == [("one", None)]
    assert _run(runner, url, _folder(tmp_path, TWO)) == ["0002_two"]


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    runner: Any, url: str, tmp_path: Path
) -> None:
    _run(runner, url, _folder(tmp_path, ONE))
    changed = _folder(tmp_path, {"0001_one": "CREATE TABLE public.one (x bigint)"})
    with pytest.raises(runner.MigrationError, match="0001_one was changed"):
        _run(runner, url, changed)


def test_a_database_of_an_earlier_state_of_this_repository_is_refused_with_a_way_out(
    runner: Any, url: str, tmp_path: Path
) -> None:
    _run(runner, url, _folder(tmp_path, ONE))
    with pytest.raises(runner.MigrationError, match=r"earlier state .*`make reset`"):
        _run(runner, url, OWN)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001_a", "0003_b"], "without a gap"),
        (["0001_a", "0001_b"], "gap"),
        (["one"], "not named"),
    ],
)
def test_files_that_leave_the_order_open_are_refused(
    runner: Any, tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(runner.MigrationError, match=message):
        runner.migrations(_folder(tmp_path, dict.fromkeys(names, "SELECT 1")))


# -- time and locks ------------------------------------------------------------------------------


def test_a_migration_and_the_wait_for_another_run_have_an_end(
    runner: Any, url: str, tmp_path: Path
) -> None:
    folder = _folder(tmp_path, {"0001_long": "SELECT pg_sleep(60)"})
    with pytest.raises(runner.MigrationError, match=r"0001_long failed: .*timeout"):
        _run(runner, url, folder, seconds=0.3)
    with psycopg.connect(url) as other:
        other.execute(runner._LOCK)
        with pytest.raises(runner.MigrationError, match="Another run"):
            _run(runner, url, folder, seconds=0.3)


def test_a_role_with_all_the_apis_rights_can_neither_take_nor_block_the_migrations_lock(
    runner: Any, url: str
) -> None:
    _run(runner, url, OWN)
    role = f"login_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN NOINHERIT IN ROLE task_api")
    try:
        with psycopg.connect(url, user=role) as api:
            api.execute("SET ROLE task_api")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                api.execute("LOCK TABLE schema_migrations IN ACCESS SHARE MODE")
    finally:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    "pause",
    [
        pytest.param("SELECT", id="UniqueViolation"),
        pytest.param("LOCK TABLE pg_class IN SHARE MODE", id="DuplicateTable"),
        pytest.param("LOCK TABLE pg_type IN ACCESS EXCLUSIVE MODE", id="DuplicateObject"),
    ],
)
def test_first_runs_of_one_empty_database_at_the_same_time_all_succeed(
    runner: Any, url: str, tmp_path: Path, pause: LiteralString
) -> None:
    """Another runner commits the table while this one creates it, at each of Postgres' checks."""
    run = runner.Runner(url, runner.migrations(_folder(tmp_path, ONE)))
    with ExitStack() as stack:
        first, lock, watcher = (
            stack.enter_context(psycopg.connect(url, autocommit=autocommit))
            for autocommit in (False, False, True)
        )
        second = stack.enter_context(direct_connection(url))
        # What these two look up in pg_type is in their caches before it is locked.
        with direct_transaction(second):
            runner.check_database(second)
        second.execute(runner._TABLE.replace("public.schema_migrations", "pg_temp.like_it"))
        _is_blocked(watcher, second)
        first.execute(runner._TABLE)
        lock.execute(pause)
        applied = stack.enter_context(ThreadPoolExecutor(1)).submit(run.run_on, second)
        while not _is_blocked(watcher, second):
            assert not applied.done(), "the second run does not wait"
        first.commit()
        lock.commit()
        assert applied.result(timeout=30) == ["0001_one"]


def _is_blocked(watcher: psycopg.Connection, other: psycopg.Connection) -> bool:
    blocking = "SELECT pg_blocking_pids(%s) <> '{}'"
    return watcher.execute(blocking, (other.info.backend_pid,)).fetchone() == (True,)


# -- databases that others made ------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_encoding_that_cannot_hold_every_text_is_refused_before_anything_is_changed(
    runner: Any, url: str, postgres: Postgres, encoding: str
) -> None:
    name = f"in_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as superuser:
        made = f"CREATE DATABASE {name} ENCODING {encoding} LOCALE 'C' TEMPLATE template0"
        superuser.execute(made.encode())
    other = postgres.url_for("postgres", name)
    with pytest.raises(runner.MigrationError, match=f"encoding is {encoding}, which cannot hold"):
        _run(runner, other, OWN)
    assert (
        _rows(other, "SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
    )


def test_settings_that_a_database_has_planted_change_nothing(
    runner: Any, url: str, tmp_path: Path
) -> None:
    name = conninfo_to_dict(url)["dbname"]
    hostile = {
        "client_encoding": "LATIN1",
        "datestyle": "German",
        "default_transaction_isolation": "serializable",
        "default_transaction_read_only": "on",
        "row_security": "off",
        "search_path": "elsewhere",
        "standard_conforming_strings": "off",
    }
    with psycopg.connect(url, autocommit=True) as superuser:
        for setting, value in hostile.items():
            planted = sql.SQL("ALTER DATABASE {} SET {} = {}")
            superuser.execute(planted.format(*map(sql.Identifier, (str(name), setting)), value))
    text = "COMMENT ON TABLE public.one IS '\u00fc \u4e16 \\'"
    folder = _folder(tmp_path, ONE | {"0002_text": text})
    assert _run(runner, url, folder) == ["0001_one", "0002_text"]
    assert _run(runner, url, folder) == []
    with direct_connection(url) as connection:
        comment = connection.execute("SELECT obj_description('public.one'::regclass)").fetchone()
    assert comment == ("\u00fc \u4e16 \\",)


def test_code_that_somebody_planted_in_the_schema_does_not_run_and_the_schema_is_closed(
    runner: Any, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    plant(url)
    _run(runner, url, OWN)
    assert "to create in the schema public is taken from PUBLIC" in caplog.text
    creators = (
        "SELECT FROM pg_namespace WHERE nspname = 'public' AND nspacl::text ~ '(^|,|\\{)=UC/'"
    )
    assert _rows(url, creators) == []
    assert not uproot(url)


def test_a_table_schema_migrations_of_somebody_else_is_refused(runner: Any, url: str) -> None:
    plant(url)
    _rows(url, "SET ROLE planter", "CREATE TABLE public.schema_migrations (version int)")
    with pytest.raises(runner.MigrationError, match="made by another role"):
        _run(runner, url, OWN)
    assert not uproot(url)


def test_an_owner_who_cannot_close_the_schema_is_told_how(
    runner: Any, url: str, postgres: Postgres
) -> None:
    plant(url)
    other = postgres.url_for("guest", str(conninfo_to_dict(url)["dbname"]))
    try:
        _rows(url, "CREATE ROLE guest LOGIN")
        with pytest.raises(runner.MigrationError, match="REVOKE CREATE ON SCHEMA public FROM PUB"):
            _run(runner, other, OWN)
    finally:
        uproot(url)
        _rows(url, "DROP ROLE guest")


# -- where they are applied ----------------------------------------------------------------------


def test_migrations_go_to_the_direct_host_and_verify_it(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AskedError(Exception):
        pass

    def asked(conninfo: str, **_: object) -> None:
        raise AskedError(conninfo)

    pooled = "postgresql://u:p@ep-x-123-pooler.eu-central-1.aws.neon.tech/db?sslmode=require"
    monkeypatch.setattr(psycopg, "connect", asked)
    with pytest.raises(AskedError) as caught:
        runner.Runner(pooled, []).run()
    parameters = conninfo_to_dict(str(caught.value))
    assert parameters["host"] == "ep-x-123.eu-central-1.aws.neon.tech"
    assert parameters["sslmode"] == "verify-full"
    assert Path(str(parameters["sslrootcert"])).is_file()


def test_a_database_that_cannot_be_reached_is_one_sentence_without_the_password(
    runner: Any,
) -> None:
    with pytest.raises(runner.MigrationError, match="cannot be reached") as caught:
        _run(runner, "postgresql://someone:hush@127.0.0.1:1/tasks", OWN)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
