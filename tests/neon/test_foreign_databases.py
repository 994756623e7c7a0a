"""Databases, environments and connection strings that others made."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from bench.proxy import Fault, Proxy
from bench.servers import QUOTED, USER, PgBouncer, Postgres
from neon import (
    ConfigurationError,
    Database,
    Effect,
    OutcomeUnknownError,
    ResultError,
    Statement,
    StatementError,
    TimedOutError,
    UnavailableError,
    _address,
    direct_connection,
    direct_conninfo,
    direct_transaction,
)
from neon._address import Target
from neon._connection import Connection
from neon._refusal import Refusal, classify
from neon._statement import _CHECK
from tests.neon.conftest import HOST, through

READ, ONCE = Effect.READ, Effect.ONCE
ONE = Statement("SELECT 1 AS one")
Connect = Callable[..., Database]
Alter = Callable[..., None]
# One session setting of a role or database, that changes how values are read or written.
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
    "lc_monetary": "C",
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


@pytest.mark.parametrize("name", HOSTILE)
def test_no_setting_of_the_role_changes_a_value(
    connect: Connect, postgres: Postgres, alter: Alter, name: str
) -> None:
    alter(**{name: HOSTILE[name]})
    database = connect(postgres.url)
    for _ in range(3):  # the first unit reads the settings, the others make those that differ
        ((row,),) = database.run(VALUES, effect=READ)
        assert row == EXPECTED
        assert repr(row["number"]) == "0.30000000000000004"
        assert row["at"].tzinfo is UTC
    assert database.telemetry.round_trips == 3


def test_the_settings_of_a_usual_session_cost_nothing(connect: Connect, postgres: Postgres) -> None:
    database = connect(postgres.url)
    database.run(ONE, effect=READ)
    assert database._connection is not None
    assert database._connection.session.writing == _CHECK


def test_whatever_a_loader_raises_is_a_result_error_without_the_value(
    connect: Connect, postgres: Postgres
) -> None:
    """The session's own style is made German by the unit itself, against what was pinned."""
    german = Statement("SELECT set_config('datestyle', 'German', true), now() AS at")
    with pytest.raises(ResultError) as caught:
        connect(postgres.url).run(german, Statement("SELECT now() AS at"), effect=ONCE)
    assert str(datetime.now(UTC).year) not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("effect", [READ, ONCE])
def test_a_transaction_timeout_of_the_role_is_replaced_by_the_units_own(
    connect: Connect, postgres: Postgres, alter: Alter, effect: Effect
) -> None:
    alter(transaction_timeout="300ms")
    slow = Statement("SELECT pg_sleep(0.6)")
    database = connect(postgres.url)
    for _ in range(2):
        database.run(slow, effect=effect)
    alter(transaction_timeout="20s")
    other = connect(postgres.url)
    for _ in range(2):
        with pytest.raises(TimedOutError):
            other.run(*[Statement("SELECT pg_sleep(0.25)")] * 2, effect=effect, timeout=0.3)


def test_a_guard_that_the_search_path_hides_is_said(
    connect: Connect, postgres: Postgres, alter: Alter
) -> None:
    alter(search_path="nowhere")
    database = connect(postgres.url, guard=Statement("SELECT refuse_privileged_login()"))
    with pytest.raises(ConfigurationError, match="search_path may be wrong"):
        database.run(ONE, effect=READ)


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


@pytest.mark.usefixtures("table")
def test_a_changed_plan_is_told_by_the_servers_function_and_not_by_its_words(
    connect: Connect, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded server speaks English only, so the words are taken away here."""
    from neon import _connection, _errors

    real = _errors.field
    monkeypatch.setattr(
        _connection, "field", lambda each, name: "" if "MESSAGE" in name.name else real(each, name)
    )
    database = connect(postgres.url)
    everything = Statement("SELECT * FROM hits")
    database.run(everything, effect=READ)
    postgres.admin("ALTER TABLE hits ADD COLUMN at int")
    assert database.run(everything, effect=READ) == [[]]
    assert database.telemetry.prepared_refused == 1


# -- encodings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_encoding_that_cannot_hold_every_character_is_refused_at_the_connect(
    connect: Connect, postgres: Postgres, encoding: str
) -> None:
    postgres.admin(
        "DROP DATABASE IF EXISTS narrow",
        f"CREATE DATABASE narrow ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0",
    )
    url = postgres.url.replace("/postgres", "/narrow")
    with pytest.raises(ConfigurationError, match=f"server_encoding is {encoding}"):
        connect(url).run(ONE, effect=READ)


# -- the environment -----------------------------------------------------------------------------

AMBIENT = {
    "PGHOST": "127.9.9.9",
    "PGHOSTADDR": "127.9.9.9",
    "PGPORT": "1",
    "PGDATABASE": "nowhere",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGSSLMODE": "require",
    "PGCHANNELBINDING": "require",
    "PGREQUIREAUTH": "none",
    "PGCLIENTENCODING": "LATIN1",
    "PGTARGETSESSIONATTRS": "standby",
    "PGDATESTYLE": "German",
    "PGTZ": "Asia/Kathmandu",
    "PGSSLROOTCERT": "/nowhere",
    "PGGSSENCMODE": "require",
    "PGREQUIREPEER": "nobody",
    "PGMINPROTOCOLVERSION": "3.2",
}


def test_no_variable_and_no_file_of_libpq_changes_a_connection(
    connect: Connect, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)
    passwords = tmp_path / ".pgpass"
    passwords.write_text("*:*:*:*:wrong\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    assert connect(postgres.url).run(VALUES, effect=READ) == [[EXPECTED]]
    # No host, port and database: the socket of this machine, and nothing that PGHOST says.
    parameters = conninfo_to_dict(direct_conninfo("postgresql://alice@"))
    assert (parameters["host"], parameters["port"], parameters["dbname"]) == ("", "5432", "alice")


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
@pytest.mark.parametrize("is_cut", [False, True], ids=["refused", "refused and cut off"])
def test_a_write_that_a_standby_refuses_goes_to_the_server_that_the_name_has_then(
    connect: Connect,
    proxy: Proxy,
    tmp_path: Path,
    addresses: Callable[..., list[str]],
    is_cut: bool,
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
        if is_cut:  # all arrives but the last message, which says that the server is ready
            proxy.arm(Fault.CUT_ANSWER, 1.0)
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
@pytest.mark.parametrize(
    ("effect", "error"), [(READ, UnavailableError), (ONCE, OutcomeUnknownError)]
)
def test_an_error_of_libpq_itself_says_nothing_about_what_was_done(
    connect: Connect, postgres: Postgres, effect: Effect, error: type[Exception]
) -> None:
    """The length in a row is damaged on the way; libpq reports that without an SQLSTATE."""
    write = Statement("INSERT INTO hits VALUES ('damage me') RETURNING op")
    read = Statement("SELECT 'damage me'")
    with _damaging(postgres.port) as port:
        database = connect(postgres.url.replace(f":{postgres.port}/", f":{port}/"))
        with pytest.raises(error):
            database.run(write if effect is ONCE else read, effect=effect)
        database.close()
    assert postgres.admin("SELECT count(*) FROM hits") == [(effect is ONCE,)]


def test_a_lack_of_memory_is_one_of_our_errors(
    connect: Connect, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    database = connect(postgres.url)
    for method, error in [("_receive", OutcomeUnknownError), ("_queue_one", UnavailableError)]:
        with monkeypatch.context() as patch:
            patch.setattr(Connection, method, fail)
            with pytest.raises(error):
                database.run(ONE, effect=ONCE)
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


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


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ('FATAL:  permission denied for database "tasks"', Refusal.PERMANENT),
        ("FATAL:  Max client connections reached", Refusal.BUSY),
        ("FATAL:  MaxClientsInSessionMode: max clients reached - in Session mode", Refusal.BUSY),
        ("FATAL:  Timed-out waiting to acquire database connection", Refusal.BUSY),
        ("FATAL:  Passwort-Authentifizierung für Benutzer »x« fehlgeschlagen", Refusal.UNKNOWN),
        ('ВАЖНО:  пользователь "x" не прошёл проверку подлинности', Refusal.UNKNOWN),
        ('致命错误:  用户 "x" Password 认证失败', Refusal.UNKNOWN),
    ],
)
def test_more_refusals_are_known_and_one_in_another_language_is_a_servers(
    text: str, refusal: Refusal
) -> None:
    assert classify(text) is refusal


def test_a_refusal_in_another_language_has_the_secret_fetched_again(
    connect: Connect, proxy: Proxy
) -> None:
    proxy.refuse("Passwort-Authentifizierung fehlgeschlagen", severity="FATAL", sqlstate="28P01")
    urls = iter([through(proxy).replace(QUOTED, "old"), through(proxy)])
    database = connect(lambda _: next(urls))
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


@pytest.mark.parametrize(
    "sql",
    [";COMMIT", " ; ; commit", "/* /* a */ */ COMMIT", "-- a\rCOMMIT", "/**/;--\n/* ; */ROLLBACK"],
)
def test_the_end_of_a_transaction_hides_behind_nothing(
    connect: Connect, postgres: Postgres, sql: Any
) -> None:
    with pytest.raises(StatementError, match=r"cannot hold (COMMIT|ROLLBACK)"):
        connect(postgres.url).run(Statement(sql), effect=ONCE)


def test_a_full_disk_is_for_a_person_to_act_on(connect: Connect, postgres: Postgres) -> None:
    """Neon says it at the limit of a project's storage."""
    full = Statement("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$")
    with pytest.raises(ConfigurationError, match="DiskFull"):
        connect(postgres.url).run(full, effect=ONCE)


@contextmanager
def _damaging(target: int) -> Iterator[int]:
    """Run a relay that makes a value's length in a row too large; yield its port."""
    good, damaged = (b"\0\1\0\0\0" + length + b"damage me" for length in (b"\t", b"\x7f"))
    with ExitStack() as sockets, ThreadPoolExecutor(30) as threads:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))

        def copy(source: socket.socket, sink: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data.replace(good, damaged))
                sink.shutdown(socket.SHUT_RDWR)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client = sockets.enter_context(listener.accept()[0])
                    server = socket.create_connection(("127.0.0.1", target))
                    sockets.enter_context(server)
                    threads.submit(copy, client, server)
                    threads.submit(copy, server, client)

        threads.submit(accept)
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
