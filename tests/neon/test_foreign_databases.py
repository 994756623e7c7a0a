"""Databases, environments and connection strings that others made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from bench.proxy import Proxy
from bench.servers import QUOTED, USER, PgBouncer, Postgres
from neon import (
    ConfigurationError,
    Database,
    Effect,
    Statement,
    _address,
    direct_connection,
    direct_transaction,
)
from neon._address import Target
from tests.neon.conftest import HOST, through

READ, ONCE = Effect.READ, Effect.ONCE
ONE = Statement("SELECT 1 AS one")
Connect = Callable[..., Database]
Alter = Callable[..., None]
# Settings of a role or a database that change how values are read or written.
HOSTILE = {
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "extra_float_digits": "-10",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "row_security": "off",
    "client_encoding": "LATIN1",
    "search_path": "nowhere",
}
VALUES = Statement(
    r"""
    SELECT %s::timestamptz AS at, '2026-02-01 03:04:05+00'::timestamptz AS written,
        '2026-02-01 03:04'::timestamptz AS naive, '-1 day -02:00'::interval AS span,
        date '2026-02-01' AS day, 0.1::float8 + 0.2 AS number, '\x00ff5c'::bytea AS bytes,
        'a\b' AS slash, '{NULL}'::text[] AS nulls, (NULL::int = NULL) AS compared,
        'ü€'::text AS text, current_setting('row_security') AS security
    """,
    (datetime(2026, 2, 1, 3, 4, 5, tzinfo=UTC),),
)
EXPECTED = {
    "at": datetime(2026, 2, 1, 3, 4, 5, tzinfo=UTC),
    "written": datetime(2026, 2, 1, 3, 4, 5, tzinfo=UTC),
    "naive": datetime(2026, 2, 1, 3, 4, tzinfo=UTC),
    "span": timedelta(days=-1, hours=-2),
    "day": datetime(2026, 2, 1, tzinfo=UTC).date(),
    "number": 0.1 + 0.2,
    "bytes": b"\x00\xff\\",
    "slash": r"a\b",
    "nulls": [None],
    "compared": None,
    "text": "ü€",
    "security": "on",
}


@pytest.fixture
def alter(postgres: Postgres) -> Iterator[Alter]:
    """Return a function that gives role `api` settings of its own, until the test's end."""

    def set_(**settings: str) -> None:
        for name, value in settings.items():
            postgres.admin(f"ALTER ROLE {USER} SET {name} = '{value}'")

    yield set_
    postgres.admin(f"ALTER ROLE {USER} RESET ALL")
    postgres.terminate()


# -- settings of a session -----------------------------------------------------------------------


def test_no_setting_of_the_role_changes_a_value(
    connect: Connect, postgres: Postgres, alter: Alter
) -> None:
    alter(**HOSTILE)
    database = connect(postgres.url)
    for _ in range(3):  # the first unit reads the settings, the others make those that differ
        ((row,),) = database.run(VALUES, effect=READ)
        assert row == EXPECTED
        assert row["at"].tzinfo is UTC
    assert database.telemetry.round_trips == 3


def test_a_transaction_timeout_of_the_role_is_replaced_by_the_units_own(
    connect: Connect, postgres: Postgres, alter: Alter
) -> None:
    alter(transaction_timeout="300ms")
    database = connect(postgres.url)
    for effect in (READ, ONCE):
        database.run(Statement("SELECT pg_sleep(0.5)"), effect=effect)


def test_a_direct_transaction_leaves_nothing_in_a_session_that_a_pooler_shares(
    new_pooler: Callable[..., PgBouncer],
) -> None:
    """A pooler that is not Neon's gives the session of a migration to the next client."""
    pooler, shown = new_pooler(), "SELECT pg_backend_pid(), current_setting('search_path')"
    with direct_connection(pooler.url()) as connection:
        with direct_transaction(connection):
            (pid, inside) = connection.execute(shown).fetchone() or ()
        assert inside == "pg_catalog, pg_temp"
        with psycopg.connect(pooler.url()) as other:
            assert other.execute(shown).fetchone() == (pid, '"$user", public')


# -- the environment -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["postgresql://u@h/db", "postgresql://u@", f"postgresql://u@{HOST}"]
)
def test_every_parameter_that_libpq_would_look_up_is_stated(url: str) -> None:
    target = Target(url)
    stated = conninfo_to_dict(target.conninfo("", target.transports[0]).decode())
    ambient = {option.keyword.decode() for option in Conninfo.parse(b"") if option.envvar}
    assert ambient - set(stated) == {"service"}


def test_a_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    with pytest.raises(ConfigurationError, match="unset PGSERVICE"):
        Target("postgresql://u@h/db")


# -- what happens to the server --------------------------------------------------------------------


@pytest.mark.usefixtures("table")
def test_a_write_that_a_standby_refuses_goes_to_the_server_that_the_name_has_then(
    connect: Connect, proxy: Proxy, tmp_path: Path, addresses: Callable[..., list[str]]
) -> None:
    asked = addresses("127.0.0.1")
    with Postgres(tmp_path / "old") as old:
        old.admin("CREATE TABLE hits (op text)", f"GRANT ALL ON hits TO {USER}")
        old.stop()
        (tmp_path / "old" / "data" / "standby.signal").touch()
        old.start()
        primary, proxy.target = proxy.target, old.port
        database = connect(through(proxy).replace("127.0.0.1", "localhost"))
        assert database.run(ONE, effect=READ) == [[{"one": 1}]]
        assert database._connection is not None
        assert database._connection._max_lifetime <= 60, "what a standby reads may be old"
        proxy.target = primary
        database.run(Statement("INSERT INTO hits VALUES ('a')"), effect=ONCE)
        assert asked == ["localhost", "localhost"]
        assert database.telemetry.retries == {"unsent": 1}


@pytest.mark.usefixtures("table")
def test_a_role_that_may_only_read_by_its_own_setting_is_misconfigured(
    connect: Connect, postgres: Postgres, alter: Alter
) -> None:
    alter(default_transaction_read_only="on")
    with pytest.raises(ConfigurationError, match="default_transaction_read_only is on"):
        connect(postgres.url).run(Statement("INSERT INTO hits VALUES ('a')"), effect=ONCE)


def test_an_address_has_an_age(
    connect: Connect,
    postgres: Postgres,
    addresses: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = addresses("127.0.0.1")
    database = connect(postgres.url.replace("127.0.0.1", "localhost"))
    database.run(ONE, effect=READ)
    monkeypatch.setattr("neon._connect._ADDRESS_SECONDS", -1.0)
    postgres.terminate()
    database.run(ONE, effect=READ)
    assert asked == ["localhost", "localhost"]


@pytest.mark.usefixtures("table")
def test_a_server_that_has_not_read_all_yet_is_not_cut_off(
    connect: Connect, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first statement works longer than an unanswered segment may take."""
    monkeypatch.setattr("neon._connection._USER_TIMEOUT_MILLISECONDS", 300)
    monkeypatch.setitem(_address._STATED, "tcp_user_timeout", "300")
    database = connect(postgres.url)
    slow, large = Statement("SELECT pg_sleep(1.5)"), Statement("SELECT %s", ("a" * 20_000_000,))
    database.run(slow, large, effect=ONCE)
    database.run(ONE, effect=ONCE)
    assert database.telemetry.retries == {}


def test_a_refusal_in_another_language_has_the_secret_fetched_again(
    connect: Connect, proxy: Proxy
) -> None:
    proxy.refuse("Passwort-Authentifizierung fehlgeschlagen", severity="FATAL", sqlstate="28P01")
    urls = iter([through(proxy).replace(QUOTED, "old"), through(proxy)])
    database = connect(lambda _: next(urls))
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


def test_a_full_disk_is_for_a_person_to_act_on(connect: Connect, postgres: Postgres) -> None:
    """Neon says it at the limit of a project's storage."""
    full = Statement("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$")
    with pytest.raises(ConfigurationError, match="DiskFull"):
        connect(postgres.url).run(full, effect=ONCE)
