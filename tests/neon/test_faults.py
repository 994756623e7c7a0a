"""Every fault at every point of a unit of work: nothing happens twice, no success is false."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.proxy import Fault, Proxy
from bench.servers import PgBouncer, Postgres, until
from neon import (
    Database,
    Effect,
    OutcomeUnknownError,
    Statement,
    UnavailableError,
    deadline,
)
from tests.neon.conftest import holding, through

READ, REPEATABLE, ONCE = Effect.READ, Effect.REPEATABLE, Effect.ONCE
ONE = Statement("SELECT 1 AS one")
# Each cut with a FIN, and two of them with a reset.
CUTS = [(fault, False) for fault in Fault if fault is not Fault.BLACK_HOLE]
CUTS += [(Fault.CUT_BEFORE, True), (Fault.CUT_ANSWER, True)]
ARRIVED = {Fault.CUT_ANSWERED, Fault.CUT_ANSWER}
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
Connect = Callable[..., Database]


def insert(op: str) -> Statement:
    """Return an insert that is not repeatable: nothing prevents a second row."""
    return Statement("INSERT INTO hits VALUES (%s) RETURNING op", (op,))


def insert_again(op: str) -> Statement:
    """Return a repeatable insert: it leaves one row, even if the first attempt is still running."""
    return Statement("INSERT INTO hits VALUES (%s, true) ON CONFLICT DO NOTHING", (op,))


def hits(postgres: Postgres, op: str) -> int:
    """Return how often the operation happened, once no session is left that could still do it."""
    until(lambda: postgres.sessions("active", "idle in transaction") == 0)
    rows = postgres.admin(f"SELECT 1 FROM hits WHERE op = '{op}'")
    return len(rows)


@pytest.mark.parametrize(("fault", "reset"), CUTS)
def test_a_read_succeeds_through_any_cut(
    connect: Connect, proxy: Proxy, fault: Fault, reset: bool
) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.arm(fault, reset=reset)
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert proxy.faulted.wait(10)
    assert database.telemetry.retries == {"lost": 1}


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(("fault", "reset"), CUTS)
def test_a_repeatable_write_happens_exactly_once_through_any_cut(
    connect: Connect, proxy: Proxy, postgres: Postgres, fault: Fault, reset: bool
) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.arm(fault, reset=reset)
    database.run(insert_again("a"), effect=REPEATABLE)
    assert proxy.faulted.wait(10)
    assert hits(postgres, "a") == 1


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(("fault", "reset"), CUTS)
def test_another_write_that_was_cut_is_never_sent_again(
    connect: Connect, proxy: Proxy, postgres: Postgres, fault: Fault, reset: bool
) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.arm(fault, reset=reset)
    with pytest.raises(OutcomeUnknownError):
        database.run(insert("a"), effect=ONCE)
    assert proxy.faulted.wait(10)
    database.close()
    until(lambda: postgres.sessions() == 0)
    expected = {1} if fault in ARRIVED else {0, 1} if fault is Fault.CUT_SENT else {0}
    assert hits(postgres, "a") in expected


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("percent", [0, 1, 90])
@pytest.mark.parametrize("fault", [Fault.CUT_REQUEST, Fault.CUT_ANSWER])
def test_a_cut_anywhere_in_a_message_is_no_success(
    connect: Connect, proxy: Proxy, postgres: Postgres, fault: Fault, percent: int
) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.arm(fault, percent / 100)
    with pytest.raises(OutcomeUnknownError):
        database.run(insert("a"), effect=ONCE)
    assert hits(postgres, "a") == (fault in ARRIVED)


@pytest.mark.usefixtures("table")
def test_a_connection_that_died_while_idle_costs_no_error(
    connect: Connect, postgres: Postgres
) -> None:
    database = connect(postgres.url)
    database.run(ONE, effect=READ)
    assert postgres.terminate() == 1
    database.run(insert("a"), effect=ONCE)
    assert hits(postgres, "a") == 1
    assert (database.telemetry.stale, database.telemetry.retries) == (1, {})


def test_a_lost_fin_costs_a_read_no_error(
    connect: Connect, proxy: Proxy, postgres: Postgres
) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.drops_fin = proxy.drops_last_words = True
    postgres.terminate()
    until(lambda: proxy.connections[0].is_server_gone)
    proxy.drops_last_words = False
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert (database.telemetry.stale, database.telemetry.retries) == (0, {"lost": 1})


def test_a_statement_that_kills_its_server_is_not_repeated_for_ever(
    connect: Connect, postgres: Postgres
) -> None:
    database = connect(postgres.url, timeout=60)
    poison = Statement("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(UnavailableError):
        database.run(poison, effect=READ)
    assert database.telemetry.connects == 5


def test_a_repeatable_write_that_cannot_be_repeated_is_unknown(
    connect: Connect, proxy: Proxy
) -> None:
    """It was sent, and then the database could no longer be reached for a second attempt."""
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.arm(Fault.CUT_ANSWERED)
    proxy.refuse(*["Couldn't connect to compute node"] * 1000)
    with deadline(0.5), pytest.raises(OutcomeUnknownError):
        database.run(ONE, effect=REPEATABLE)


def test_without_time_nothing_is_sent(connect: Connect, proxy: Proxy) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    before = proxy.round_trips
    with deadline(0), pytest.raises(UnavailableError, match="no time is left"):
        database.run(ONE, effect=ONCE)
    assert proxy.round_trips == before


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("effect", "error"),
    [(READ, UnavailableError), (REPEATABLE, OutcomeUnknownError), (ONCE, OutcomeUnknownError)],
)
def test_silence_until_the_deadline_is_an_error_that_says_what_is_known(
    connect: Connect, proxy: Proxy, postgres: Postgres, effect: Effect, error: type[Exception]
) -> None:
    database = connect(through(proxy))
    database._connected(time.monotonic() + 9)  # a new connection has the whole time
    proxy.arm(Fault.BLACK_HOLE)
    with deadline(0.5), pytest.raises(error):
        database.run(insert("a"), effect=effect)
    assert proxy.faulted.wait(10)
    assert hits(postgres, "a") == 0
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


@pytest.mark.usefixtures("table")
def test_a_backend_killed_in_the_middle_of_a_statement(
    connect: Connect, postgres: Postgres
) -> None:
    """The statement waits for a lock, so that its backend is there to be killed."""
    kill = WAITING.replace("pid", "pg_terminate_backend(pid)", 1)
    database = connect(postgres.url)
    with holding(postgres.admin_url, "LOCK TABLE hits"):
        with ThreadPoolExecutor() as threads:
            running = threads.submit(database.run, insert("a"), effect=ONCE)
            until(lambda: postgres.admin(kill))
        with pytest.raises(OutcomeUnknownError):
            running.result()
    assert hits(postgres, "a") == 0


# -- the pooler's own faults ---------------------------------------------------------------------


@pytest.mark.usefixtures("table")
def test_a_pool_without_a_free_connection_has_executed_nothing(
    connect: Connect, new_pooler: Callable[..., PgBouncer], postgres: Postgres
) -> None:
    """PgBouncer's query_wait_timeout comes before a server connection: nothing was executed."""
    pooler = new_pooler(query_wait_timeout=1)
    database = connect(pooler.url())
    database.run(ONE, effect=READ)
    with ThreadPoolExecutor() as threads, holding(pooler.url(), "SELECT 1"):
        running = threads.submit(database.run, insert("a"), effect=ONCE)
        until(lambda: database.telemetry.retries["unsent"])
    running.result()
    assert hits(postgres, "a") == 1


def test_a_full_pooler_is_unavailable_with_a_longer_wait(
    connect: Connect, new_pooler: Callable[..., PgBouncer]
) -> None:
    pooler = new_pooler(max_client_conn=1)
    holder, database = connect(pooler.url()), connect(pooler.url())
    holder.run(ONE, effect=READ)
    with deadline(0.5), pytest.raises(UnavailableError, match="no more connections") as caught:
        database.run(ONE, effect=READ)
    assert caught.value.retry_after == 5.0
    holder.close()
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
