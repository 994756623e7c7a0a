"""Migrations run once each, in order, and forward only, also when two runners start together."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from local.postgres import Postgres
from neon import direct_connection
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


def test_files_that_leave_the_order_open_are_refused(runner: Any, tmp_path: Path) -> None:
    with pytest.raises(runner.MigrationError, match="without a gap"):
        runner.migrations(_folder(tmp_path, dict.fromkeys(["0001_a", "0001_b"], "SELECT 1")))


# -- time and locks ------------------------------------------------------------------------------


def test_a_migration_and_the_wait_for_another_run_have_an_end(
    runner: Any, url: str, tmp_path: Path
) -> None:
    folder = _folder(tmp_path, {"0001_long": "SELECT pg_sleep(60)"})
    with pytest.raises(runner.MigrationError, match=r"0001_long failed: .*timeout"):
        _run(runner, url, folder, seconds=1.0)
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


# -- databases that others made ------------------------------------------------------------------


def test_an_encoding_that_cannot_hold_every_text_is_refused_before_anything_is_changed(
    runner: Any, url: str, postgres: Postgres
) -> None:
    name = f"in_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as superuser:
        made = f"CREATE DATABASE {name} ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0"
        superuser.execute(made.encode())
    other = postgres.url_for("postgres", name)
    with pytest.raises(runner.MigrationError, match="encoding is SQL_ASCII, which cannot hold"):
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
        "SELECT nspacl::text FROM pg_namespace"
        " WHERE nspname = 'public' AND nspacl::text ~ '(^|,|\\{)=UC/'"
    )
    assert _rows(url, creators) == []
    assert not uproot(url)


def test_a_table_schema_migrations_of_somebody_else_is_refused(runner: Any, url: str) -> None:
    plant(url)
    _rows(url, "SET ROLE planter", "CREATE TABLE public.schema_migrations (version int)")
    with pytest.raises(runner.MigrationError, match="made by another role"):
        _run(runner, url, OWN)
    assert not uproot(url)
