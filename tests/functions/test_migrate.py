"""Migrations run once each, in order, and forward only, also when two runners start together."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.functions.handlers import modules
from tests.running import ROOT


@pytest.fixture(scope="module")
def runner() -> Any:
    """Return the module that applies migrations."""
    return modules("migrate")["runner"]


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    """Return an empty database."""
    return new_database()


def _folder(tmp_path: Path, **files: str) -> Path:
    for name, sql in files.items():
        (tmp_path / f"{name}.sql").write_text(sql)
    return tmp_path


def _run(runner: Any, url: str, folder: Path) -> list[str]:
    names: list[str] = runner.Runner(url, runner.migrations(folder)).run()
    return names


def test_the_products_own_migrations_apply_and_a_second_run_does_nothing(
    runner: Any, url: str
) -> None:
    folder = ROOT / "functions" / "migrate" / "migrations"
    names = sorted(path.stem for path in folder.glob("*.sql"))
    assert _run(runner, url, folder) == names
    assert _run(runner, url, folder) == []


def test_two_runners_at_the_same_time_apply_each_migration_once(
    runner: Any, url: str, tmp_path: Path
) -> None:
    steps = {
        f"{n:04}_step": f"CREATE TABLE t{n} (x int); INSERT INTO t{n} VALUES (1);"
        for n in range(1, 9)
    }
    folder = _folder(tmp_path, **steps)
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: _run(runner, url, folder), range(4)))
    assert sorted(name for names in applied for name in names) == sorted(steps)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM t8").fetchone() == (1,)


def test_a_later_migration_is_applied_by_the_next_run(
    runner: Any, url: str, tmp_path: Path
) -> None:
    folder = _folder(tmp_path, **{"0001_one": "CREATE TABLE one (x int)"})
    assert _run(runner, url, folder) == ["0001_one"]
    _folder(tmp_path, **{"0002_two": "CREATE TABLE two (x int)"})
    assert _run(runner, url, folder) == ["0002_two"]


def test_a_migration_that_fails_leaves_nothing_of_itself_and_keeps_the_earlier(
    runner: Any, url: str, tmp_path: Path
) -> None:
    broken = "CREATE TABLE half (x int); SELECT 1/0;"
    folder = _folder(tmp_path, **{"0001_one": "CREATE TABLE one (x int)", "0002_broken": broken})
    with pytest.raises(runner.MigrationError, match="0002_broken failed: division by zero"):
        _run(runner, url, folder)
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT to_regclass('one'), to_regclass('half')").fetchone()
    assert tables == ("one", None)
    (tmp_path / "0002_broken.sql").write_text("CREATE TABLE half (x int)")
    assert _run(runner, url, folder) == ["0002_broken"]


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    runner: Any, url: str, tmp_path: Path
) -> None:
    folder = _folder(tmp_path, **{"0001_one": "CREATE TABLE one (x int)"})
    _run(runner, url, folder)
    _folder(tmp_path, **{"0001_one": "CREATE TABLE one (x bigint)"})
    with pytest.raises(runner.MigrationError, match="0001_one was changed"):
        _run(runner, url, folder)


def test_a_database_of_an_earlier_state_of_this_repository_is_refused_with_a_way_out(
    runner: Any, url: str, tmp_path: Path
) -> None:
    _run(runner, url, _folder(tmp_path, **{"0001_tasks": "CREATE TABLE tasks (x int)"}))
    folder = ROOT / "functions" / "migrate" / "migrations"
    with pytest.raises(runner.MigrationError, match=r"earlier state .*`make reset`"):
        _run(runner, url, folder)


def test_a_database_that_is_further_than_these_files_stays_where_it_is(
    runner: Any, url: str, tmp_path: Path
) -> None:
    both = {"0001_one": "CREATE TABLE one (x int)", "0002_two": "CREATE TABLE two (x int)"}
    _run(runner, url, _folder(tmp_path, **both))
    (tmp_path / "0002_two.sql").unlink()
    assert _run(runner, url, tmp_path) == []
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('two')").fetchone() == ("two",)


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
        runner.migrations(_folder(tmp_path, **dict.fromkeys(names, "SELECT 1")))


def test_migrations_go_to_the_direct_host_and_verify_it(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled = "postgresql://u:p@ep-x-123-pooler.eu-central-1.aws.neon.tech/db?sslmode=require"
    monkeypatch.setattr(psycopg, "connect", lambda conninfo, **_: conninfo_to_dict(conninfo))
    parameters = runner.connect(pooled)
    assert parameters["host"] == "ep-x-123.eu-central-1.aws.neon.tech"
    assert parameters["sslmode"] == "verify-full"
    assert Path(str(parameters["sslrootcert"])).is_file()


def test_a_migration_that_takes_too_long_is_ended_by_the_server(
    runner: Any, url: str, tmp_path: Path
) -> None:
    folder = _folder(tmp_path, **{"0001_long": "SELECT pg_sleep(60)"})
    with pytest.raises(runner.MigrationError, match=r"0001_long failed: .*timeout"):
        runner.Runner(url, runner.migrations(folder), seconds=0.3).run()


def test_waiting_for_another_run_has_an_end(runner: Any, url: str, tmp_path: Path) -> None:
    folder = _folder(tmp_path, **{"0001_one": "SELECT 1"})
    _run(runner, url, folder)
    with psycopg.connect(url) as other:
        other.execute(runner._LOCK)
        with pytest.raises(runner.MigrationError, match="Another run"):
            runner.Runner(url, runner.migrations(folder), seconds=0.3).run()


def test_a_role_with_all_the_apis_rights_can_neither_take_nor_block_the_migrations_lock(
    runner: Any, url: str
) -> None:
    own = ROOT / "functions" / "migrate" / "migrations"
    _run(runner, url, own)
    role = f"login_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN NOINHERIT IN ROLE task_api")
    try:
        with psycopg.connect(url, user=role) as api:
            api.execute("SET ROLE task_api")
            api.execute("SELECT pg_advisory_lock(7203914155021)")  # the lock of earlier versions
            api.commit()
            assert _run(runner, url, own) == []
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
    run = runner.Runner(
        url, runner.migrations(_folder(tmp_path, **{"0001_one": "CREATE TABLE one (x int)"}))
    )
    with ExitStack() as stack:
        first, second, lock, watcher = (
            stack.enter_context(psycopg.connect(url, autocommit=autocommit))
            for autocommit in (False, True, False, True)
        )
        # What these two look up in pg_type is in their caches before it is locked.
        second.execute(runner._TABLE.replace("schema_migrations", "pg_temp.like_it"))
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


def test_a_database_that_cannot_be_reached_is_one_sentence_without_the_password(
    runner: Any, tmp_path: Path
) -> None:
    url = "postgresql://someone:hush@127.0.0.1:1/tasks"
    with pytest.raises(runner.MigrationError, match="cannot be reached") as caught:
        _run(runner, url, _folder(tmp_path, **{"0001_one": "SELECT 1"}))
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
