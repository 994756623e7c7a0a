"""A unit of work that is given up stops on the server, and its error says what is known."""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bench.proxy import Fault, Proxy
from bench.servers import PgBouncer, Postgres, free_port, until
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
    deadline,
)
from neon._connection import Connection
from tests.neon.conftest import small_send_buffers, through

READ, REPEATABLE, ONCE = Effect.READ, Effect.REPEATABLE, Effect.ONCE
ONE = Statement("SELECT 1 AS one")
SLEEP = Statement("SELECT pg_sleep(60)")
_LOCKED = "SELECT pid FROM pg_locks WHERE relation = 'hits'::regclass AND granted"
UNLIMITED = {"statement_timeout": "0", "transaction_timeout": "0"}
Connect = Callable[..., Database]


@pytest.mark.parametrize("by", ["postgres", "pooler"])
def test_a_statement_that_was_given_up_is_stopped_on_the_server(
    connect: Connect, postgres: Postgres, new_pooler: Callable[..., PgBouncer], by: str
) -> None:
    """Nothing but the cancel request can end it: the server's own limits and checks are off."""
    unchecked = UNLIMITED | {"client_connection_check_interval": "0"}
    database = connect(postgres.url if by == "postgres" else new_pooler().url())
    with deadline(1.0), pytest.raises(UnavailableError):
        database.run(SLEEP, effect=ONCE, settings=unchecked)
    until(lambda: postgres.sessions("active") == 0)
    assert database.telemetry.cancels == 1


def test_a_read_whose_connection_was_cut_is_stopped_before_it_is_sent_again(
    connect: Connect, proxy: Proxy, postgres: Postgres
) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.arm(Fault.CUT_SENT)
    with deadline(2.0), pytest.raises(UnavailableError):
        database.run(SLEEP, effect=READ)
    assert database.telemetry.cancels >= 1
    until(lambda: postgres.sessions("active") == 0)


def test_the_units_own_timeout_is_an_error_of_its_own(connect: Connect, postgres: Postgres) -> None:
    database = connect(postgres.url)
    with pytest.raises(TimedOutError):
        database.run(SLEEP, effect=READ, timeout=0.2)
    assert postgres.sessions("active") == 0
    halves = [Statement("SELECT pg_sleep(0.2)")] * 3
    with pytest.raises(TimedOutError):
        database.run(*halves, effect=READ, timeout=0.3)
    with deadline(0.3), pytest.raises(UnavailableError) as caught:
        database.run(SLEEP, effect=READ, timeout=60)
    assert type(caught.value) is UnavailableError


@pytest.mark.usefixtures("table")
def test_a_resend_waits_until_the_attempt_before_has_ended(
    connect: Connect, proxy: Proxy, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt cannot be told to stop; the second one sees what it committed.

    Another lock of the first attempt may still be held for a moment then: Postgres releases the
    locks of a transaction one after the other, once its commit is seen.
    """
    monkeypatch.setattr(Connection, "_cancel", lambda *_: None)
    write = Statement(
        "WITH before AS (SELECT count(*) AS seen FROM hits), slowly AS (SELECT pg_sleep(0.5))"
        " INSERT INTO hits (op) SELECT 'a write' FROM slowly RETURNING (SELECT seen FROM before)"
    )
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.arm(Fault.CUT_SENT)
    ((row,),) = database.run(write, effect=REPEATABLE)
    assert row["seen"] == 1
    assert database.telemetry.retries == {"lost": 1}
    assert postgres.sessions("active") == 0


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(("length", "effect"), [(120_000, ONCE), (3_500_000, REPEATABLE)])
def test_a_write_that_was_given_up_half_sent_is_never_committed(
    connect: Connect,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    length: int,
    effect: Effect,
) -> None:
    """The network recovers while the server is told to stop, and has room for the rest.

    The server's own limits are off, because on a server before Postgres 17 they come too late.
    """
    monkeypatch.setattr("neon._database._TRIES", 1)
    insert = Statement("INSERT INTO hits VALUES (left(%s, 1))", ("a" * length,))
    with Proxy(postgres.port, buffer_bytes=4096) as proxy, small_send_buffers():
        database = connect(through(proxy))
        database.run(ONE, effect=READ)
        connection = database._connection
        assert connection is not None
        descriptor = connection._pgconn.socket

        def recover(*_: object) -> None:
            proxy.release()
            until(lambda: _bytes_unsent(descriptor) == 0)

        monkeypatch.setattr(connection, "_cancel", recover)
        proxy.hold()
        with deadline(0.5), pytest.raises(UnavailableError, match="took no data"):
            database.run(insert, effect=effect, settings=UNLIMITED)
        assert not proxy.is_held
        database.close()
        until(lambda: postgres.sessions() == 0)
    assert postgres.admin("SELECT op FROM hits") == []


@pytest.mark.usefixtures("table")
def test_half_a_batch_and_then_silence_keep_no_lock(
    connect: Connect, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cancel request arrives either: only the server's own `transaction_timeout` is left."""
    monkeypatch.setattr(Connection, "_cancel", lambda *_: None)
    lock = Statement("LOCK TABLE hits")
    large = Statement("SELECT %s", ("a" * 3_500_000,))
    with Proxy(postgres.port, buffer_bytes=4096) as proxy, small_send_buffers():
        database = connect(through(proxy), timeout=1.0)
        database.run(ONE, effect=READ)
        proxy.hold(after=4096)  # the lock, and the begin of what follows it
        with ThreadPoolExecutor() as threads:
            running = threads.submit(database.run, lock, large, effect=ONCE)
            until(lambda: postgres.admin(_LOCKED))
            with pytest.raises(UnavailableError):
                running.result()
        until(lambda: not postgres.admin(_LOCKED))
        assert proxy.is_held


@pytest.mark.usefixtures("table")
def test_a_write_whose_session_ends_before_it_is_sent_whole_is_sent_again(
    connect: Connect, postgres: Postgres
) -> None:
    """The last words of the server, and the end of the connection, are met by `flush`."""
    insert = Statement("INSERT INTO hits VALUES ('a')")
    large = Statement("SELECT %s", ("a" * 500_000,))
    with Proxy(postgres.port, buffer_bytes=4096) as proxy, small_send_buffers():
        database = connect(through(proxy))
        database.run(ONE, effect=READ)
        proxy.hold()
        with ThreadPoolExecutor() as threads:
            running = threads.submit(database.run, insert, large, effect=ONCE)
            until(lambda: postgres.admin(_LOCKED))
            postgres.terminate()
            proxy.release()
            running.result()
        assert database.telemetry.retries == {"unsent": 1}
    assert postgres.admin("SELECT count(*) FROM hits") == [(1,)]


def test_an_error_that_was_read_before_the_cut_is_raised_as_what_it_is(
    connect: Connect, proxy: Proxy
) -> None:
    """The cut is in the server's very last message, which follows the error."""
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.arm(Fault.CUT_ANSWER, 1.0)
    with pytest.raises(StatementError) as caught:
        database.run(Statement("SELECT 'x'::text::int"), effect=ONCE)
    assert proxy.faulted.wait(10)
    assert caught.value.sqlstate == "22P02"
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


def test_the_server_ends_what_a_lost_client_could_not_tell_it_to_stop(
    connect: Connect, proxy: Proxy, postgres: Postgres
) -> None:
    """The cancel request does not arrive, but the server checks whether its client is there."""
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.target = free_port()
    with deadline(0.6), pytest.raises(OutcomeUnknownError):
        database.run(SLEEP, effect=ONCE, settings=UNLIMITED)
    assert database.telemetry.cancels == 1
    until(lambda: postgres.sessions("active") == 0)


@pytest.mark.usefixtures("table")
def test_a_value_without_a_python_form_is_an_error_that_says_that_it_was_done(
    connect: Connect, postgres: Postgres
) -> None:
    insert = Statement("INSERT INTO hits VALUES ('a') RETURNING 'infinity'::timestamptz AS at")
    with pytest.raises(ResultError) as caught:
        connect(postgres.url).run(insert, effect=ONCE)
    assert "infinity" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert len(postgres.admin("SELECT op FROM hits")) == 1


@pytest.mark.usefixtures("table")
def test_a_read_that_writes_is_refused_by_the_server(connect: Connect, postgres: Postgres) -> None:
    with pytest.raises(StatementError) as caught:
        connect(postgres.url).run(Statement("INSERT INTO hits VALUES ('a')"), effect=READ)
    assert caught.value.sqlstate == "25006"


def test_a_guard_goes_ahead_of_the_first_unit_of_work_in_its_round_trip(
    connect: Connect, proxy: Proxy
) -> None:
    guard = Statement("SELECT set_config('app.seen', current_setting('role'), false)")
    database = connect(through(proxy), guard=guard)
    database.run(ONE, effect=READ, settings={"app.user_id": "alice"})
    seen = Statement("SELECT current_setting('app.seen', true) AS role")
    before = proxy.round_trips
    assert database.run(seen, effect=READ) == [[{"role": "none"}]]
    assert proxy.round_trips - before == 1


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DO $$ BEGIN RAISE EXCEPTION 'connected as the owner'; END $$", "connected as the owner"),
        ("SELECT refuse_privileged_login()", "search_path may be wrong"),
    ],
)
def test_a_guard_that_fails_refuses_the_unit_of_work(
    connect: Connect, postgres: Postgres, sql: Any, said: str
) -> None:
    database = connect(postgres.url, guard=Statement(sql))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=said):
            database.run(ONE, effect=READ)


def _bytes_unsent(descriptor: int) -> int:
    """Return how many bytes the kernel has that the other end has not taken yet."""
    answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4)
    return int(struct.unpack("i", answer)[0])
