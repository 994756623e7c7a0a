"""Every fault at every point of a unit of work: never twice, never a wrong success."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from neon import (
    Database,
    Effect,
    OutcomeUnknownError,
    Statement,
    StatementError,
    UnavailableError,
    deadline,
)
from neon._connection import Connection, ConnectionLostError
from tests.neon.conftest import through
from tests.neon.proxy import Fault, Proxy
from tests.neon.servers import PgBouncer, Postgres, until

READ, REPEATABLE, ONCE = Effect.READ, Effect.REPEATABLE, Effect.ONCE
ONE = Statement("SELECT 1 AS one")
CUTS = [fault for fault in Fault if fault is not Fault.BLACK_HOLE]
ARRIVED = {Fault.CUT_ANSWERED, Fault.CUT_ANSWER}
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
Connect = Callable[..., Database]


def insert(op: str) -> Statement:
    """Not repeatable by itself: nothing keeps a second row out."""
    return Statement("INSERT INTO hits VALUES (%s) RETURNING op", (op,))


def insert_again(op: str) -> Statement:
    """Repeatable: the row is there afterwards, once, were the first attempt still running."""
    return Statement("INSERT INTO hits VALUES (%s, true) ON CONFLICT DO NOTHING", (op,))


def hits(postgres: Postgres, op: str) -> int:
    """How often it happened, once nothing is left that could still make it happen."""
    until(lambda: postgres.sessions("active", "idle in transaction") == 0)
    rows = postgres.admin(f"SELECT 1 FROM hits WHERE op = '{op}'")
    return len(rows)


@pytest.fixture(params=["fin", "reset"])
def reset(request: pytest.FixtureRequest) -> bool:
    """How the connection ends."""
    return bool(request.param == "reset")


@pytest.mark.parametrize("fault", CUTS)
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
@pytest.mark.parametrize("fault", CUTS)
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
@pytest.mark.parametrize("fault", CUTS)
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
@pytest.mark.parametrize("percent", [0, 1, 10, 50, 90, 99])
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
@pytest.mark.parametrize("effect", Effect)
def test_a_connection_that_died_while_idle_costs_no_error(
    connect: Connect, postgres: Postgres, effect: Effect
) -> None:
    database = connect(postgres.url)
    database.run(ONE, effect=READ)
    assert postgres.terminate() == 1
    database.run(insert("a"), effect=effect)
    assert hits(postgres, "a") == 1
    assert (database.telemetry.stale, database.telemetry.retries) == (1, {})


@pytest.mark.parametrize("effect", [READ, REPEATABLE])
def test_a_lost_fin_costs_no_error(
    connect: Connect, proxy: Proxy, postgres: Postgres, effect: Effect
) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.drops_fin = proxy.drops_last_words = True
    postgres.terminate()
    until(lambda: proxy.connections[0].is_server_gone)
    proxy.drops_last_words = False
    assert database.run(ONE, effect=effect) == [[{"one": 1}]]
    assert (database.telemetry.stale, database.telemetry.retries) == (0, {"lost": 1})


def test_a_servers_last_words_are_enough_to_know_that_it_is_gone(
    connect: Connect, proxy: Proxy, postgres: Postgres
) -> None:
    proxy.drops_fin = True
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    postgres.terminate()
    until(lambda: proxy.connections[0].is_server_gone)
    assert database.run(ONE, effect=ONCE) == [[{"one": 1}]]
    assert (database.telemetry.stale, database.telemetry.retries) == (1, {})


@pytest.mark.parametrize(
    ("effect", "error", "tries"), [(READ, UnavailableError, 5), (ONCE, OutcomeUnknownError, 1)]
)
def test_a_statement_that_kills_its_server_is_not_repeated_for_ever(
    connect: Connect, postgres: Postgres, effect: Effect, error: type[Exception], tries: int
) -> None:
    database = connect(postgres.url, seconds=60)
    poison = Statement("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(error):
        database.run(poison, effect=effect)
    assert database.telemetry.connects == tries


@pytest.mark.parametrize("text", ["endpoint is disabled", "Couldn't connect to compute node"])
def test_a_repeatable_write_that_cannot_be_repeated_is_unknown(
    connect: Connect, proxy: Proxy, text: str
) -> None:
    """It was sent, and then there was no way back to the database to send it again."""
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    proxy.arm(Fault.CUT_ANSWERED)
    proxy.refuse(*[text] * 1000)
    with deadline(0.5), pytest.raises(OutcomeUnknownError):
        database.run(ONE, effect=REPEATABLE)


def test_a_repeatable_write_stays_unknown_when_its_last_try_was_not_even_sent(
    connect: Connect, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pooler refuses every try but the first one before it gives a server."""
    database = connect(through(proxy))
    tries = iter([True, False, False, False, False])

    def lose(*_: object, **__: object) -> None:
        raise ConnectionLostError("lost", sent=next(tries))

    monkeypatch.setattr(Connection, "exchange", lose)
    with pytest.raises(OutcomeUnknownError, match="sent 1 times without an answer"):
        database.run(ONE, effect=REPEATABLE)


@pytest.mark.usefixtures("table")
def test_a_transaction_block_has_no_other_units_of_work_inside(
    connect: Connect, postgres: Postgres
) -> None:
    database = connect(postgres.url)
    with database.transaction() as transaction:
        transaction.run(insert("a"))
        with pytest.raises(StatementError, match="its own run"):
            database.run(insert("b"), effect=ONCE)
        with pytest.raises(StatementError, match="its own run"), database.transaction():
            pass
    assert (hits(postgres, "a"), hits(postgres, "b")) == (1, 0)


@pytest.mark.usefixtures("table")
def test_a_transaction_whose_connection_is_closed_inside_is_unavailable(
    connect: Connect, postgres: Postgres
) -> None:
    database = connect(postgres.url)
    with (  # noqa: PT012  the block is what is tested
        pytest.raises(UnavailableError),
        database.transaction() as transaction,
    ):
        transaction.run(insert("a"))
        database.close()
        transaction.run(insert("a"))
    assert hits(postgres, "a") == 0


@pytest.mark.parametrize("effect", Effect)
def test_without_time_nothing_is_sent(connect: Connect, proxy: Proxy, effect: Effect) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    before = proxy.round_trips
    with deadline(0), pytest.raises(UnavailableError, match="no time is left"):
        database.run(ONE, effect=effect)
    assert proxy.round_trips == before


@pytest.mark.parametrize("effect", [READ, REPEATABLE])
def test_a_reused_connection_that_swallows_everything_is_given_up_for_a_new_one(
    connect: Connect, proxy: Proxy, effect: Effect
) -> None:
    database = connect(through(proxy), patience=0.3)
    database.run(ONE, effect=READ)
    proxy.arm(Fault.BLACK_HOLE)
    assert database.run(ONE, effect=effect) == [[{"one": 1}]]
    assert proxy.faulted.wait(10)
    assert database.telemetry.connects == 2


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("effect", "error"),
    [(READ, UnavailableError), (REPEATABLE, OutcomeUnknownError), (ONCE, OutcomeUnknownError)],
)
def test_silence_until_the_deadline_is_an_error_that_says_what_is_known(
    connect: Connect, proxy: Proxy, postgres: Postgres, effect: Effect, error: type[Exception]
) -> None:
    database = connect(through(proxy))
    database._connected(float("inf"))  # a new connection has the whole time
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
    """It waits for a lock, so that it is there to be killed."""
    kill = WAITING.replace("pid", "pg_terminate_backend(pid)", 1)
    holder, database = connect(postgres.url), connect(postgres.url)
    with holder.transaction() as transaction:
        transaction.run(Statement("LOCK TABLE hits"))
        with ThreadPoolExecutor() as threads:
            running = threads.submit(database.run, insert("a"), effect=ONCE)
            until(lambda: postgres.admin(kill))
        with pytest.raises(OutcomeUnknownError):
            running.result()
    assert hits(postgres, "a") == 0


# -- the pooler's own faults ---------------------------------------------------------------------


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.usefixtures("table")
def test_a_pooler_that_was_restarted_costs_no_error(
    connect: Connect, new_pooler: Callable[..., PgBouncer], postgres: Postgres, effect: Effect
) -> None:
    pooler = new_pooler()
    database = connect(pooler.url())
    database.run(ONE, effect=READ)
    pooler.kill()
    pooler.start()
    database.run(insert("a"), effect=effect)
    assert hits(postgres, "a") == 1


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("effect", Effect)
def test_a_pooler_killed_in_the_middle_of_a_unit_of_work(
    connect: Connect, new_pooler: Callable[..., PgBouncer], postgres: Postgres, effect: Effect
) -> None:
    pooler = new_pooler()
    holder, database = connect(postgres.url), connect(pooler.url())
    with ThreadPoolExecutor() as threads:
        with holder.transaction() as transaction:
            transaction.run(Statement("LOCK TABLE hits"))
            running = threads.submit(database.run, insert_again("a"), effect=effect)
            until(lambda: postgres.admin(WAITING))
            pooler.kill()
            pooler.start()
        if effect is ONCE:
            with pytest.raises(OutcomeUnknownError):
                running.result()
        else:
            running.result()
    database.close()
    until(lambda: postgres.sessions("active", "idle in transaction") == 0)
    # The first backend finds its client gone only when it has something to say.
    assert hits(postgres, "a") in ((0, 1) if effect is ONCE else (1,))


def test_a_pooler_that_is_down_is_unavailable_and_then_back(
    connect: Connect, new_pooler: Callable[..., PgBouncer]
) -> None:
    pooler = new_pooler()
    database = connect(pooler.url())
    pooler.kill()
    with (
        deadline(0.5),
        pytest.raises(UnavailableError, match=r"tried \d+ times in \d\.\d s.*refused"),
    ):
        database.run(ONE, effect=READ)
    pooler.start()
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


@pytest.mark.usefixtures("table")
def test_a_paused_pooler_does_nothing_later_that_was_called_unavailable(
    connect: Connect, new_pooler: Callable[..., PgBouncer], postgres: Postgres
) -> None:
    pooler = new_pooler()
    database = connect(pooler.url())
    database.run(ONE, effect=READ)
    pooler.console("PAUSE")
    with deadline(0.4), pytest.raises(UnavailableError):
        database.run(ONE, effect=READ)
    with deadline(0.4), pytest.raises(OutcomeUnknownError):
        database.run(insert("a"), effect=ONCE)
    pooler.console("RESUME")
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert hits(postgres, "a") in (0, 1)


@pytest.mark.usefixtures("table")
def test_a_pool_without_a_free_connection_has_executed_nothing(
    connect: Connect, new_pooler: Callable[..., PgBouncer], postgres: Postgres
) -> None:
    """PgBouncer's query_wait_timeout comes before a server connection was given: not executed."""
    pooler = new_pooler(query_wait_timeout=1)
    holder, database = connect(pooler.url()), connect(pooler.url())
    database.run(ONE, effect=READ)
    with ThreadPoolExecutor() as threads, holder.transaction() as transaction:
        transaction.run(ONE)
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


# -- interactive transactions --------------------------------------------------------------------


@pytest.mark.usefixtures("table")
def test_a_transaction_commits_with_its_settings(connect: Connect, postgres: Postgres) -> None:
    database = connect(postgres.url)
    with database.transaction(settings={"app.user_id": "alice"}) as transaction:
        rows = transaction.run(Statement("SELECT current_setting('app.user_id') AS who"))
        transaction.run(insert(rows[0][0]["who"]))
    assert hits(postgres, "alice") == 1
    rows = database.run(Statement("SELECT current_setting('app.user_id', true) AS x"), effect=READ)
    assert not rows[0][0]["x"]


@pytest.mark.usefixtures("table")
def test_a_transaction_costs_a_round_trip_for_each_run_and_one_for_the_commit(
    connect: Connect, proxy: Proxy
) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    before = proxy.round_trips
    with database.transaction() as transaction:
        transaction.run(insert("a"))
        transaction.run(insert("b"), insert("c"))
    assert proxy.round_trips - before == 3


@pytest.mark.usefixtures("table")
def test_a_transaction_whose_block_raises_is_rolled_back(
    connect: Connect, postgres: Postgres
) -> None:
    database = connect(postgres.url)
    with pytest.raises(ZeroDivisionError), database.transaction() as transaction:  # noqa: PT012
        transaction.run(insert("a"))
        raise ZeroDivisionError
    assert hits(postgres, "a") == 0
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert database.telemetry.connects == 1


@pytest.mark.usefixtures("table")
def test_a_transaction_that_failed_cannot_end_as_a_success(
    connect: Connect, postgres: Postgres
) -> None:
    database = connect(postgres.url)
    with (  # noqa: PT012  the block is what is tested
        pytest.raises(StatementError, match="rolled back"),
        database.transaction() as transaction,
    ):
        transaction.run(insert("a"))
        with pytest.raises(StatementError):
            transaction.run(Statement("SELECT 1 / 0"))
    assert hits(postgres, "a") == 0


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("fault", CUTS)
def test_a_transaction_cut_before_its_commit_did_nothing(
    connect: Connect, proxy: Proxy, postgres: Postgres, fault: Fault
) -> None:
    database = connect(through(proxy))
    with (  # noqa: PT012  the block is what is tested
        pytest.raises(UnavailableError),
        database.transaction() as transaction,
    ):
        transaction.run(insert("a"))
        proxy.arm(fault)
        transaction.run(insert("a"))
    assert hits(postgres, "a") == 0


@pytest.mark.usefixtures("table")
def test_a_transaction_that_was_lost_cannot_end_as_a_success(
    connect: Connect, proxy: Proxy, postgres: Postgres
) -> None:
    database = connect(through(proxy))
    with (  # noqa: PT012  the block is what is tested
        pytest.raises(StatementError, match="rolled back"),
        database.transaction() as transaction,
    ):
        transaction.run(insert("a"))
        proxy.arm(Fault.CUT_BEFORE)
        with pytest.raises(UnavailableError):
            transaction.run(insert("a"))
    assert hits(postgres, "a") == 0


@pytest.mark.usefixtures("table")
def test_a_commit_that_was_never_sent_needs_no_settling(
    connect: Connect, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object, **__: object) -> None:
        raise ConnectionLostError("lost", sent=False)

    database = connect(postgres.url)
    with (  # noqa: PT012  the block is what is tested
        pytest.raises(UnavailableError, match="nothing was done"),
        database.transaction() as transaction,
    ):
        transaction.run(insert("a"))
        monkeypatch.setattr(Connection, "exchange", lose)
    assert hits(postgres, "a") == 0


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("fault", CUTS)
def test_a_commit_that_was_cut_is_settled(
    connect: Connect, proxy: Proxy, postgres: Postgres, fault: Fault
) -> None:
    database = connect(through(proxy))
    succeeded = False
    try:
        with database.transaction() as transaction:
            transaction.run(insert("a"))
            proxy.arm(fault)
        succeeded = True
    except UnavailableError:
        pass  # rolled back, and known to be
    assert proxy.faulted.wait(10)
    assert hits(postgres, "a") == succeeded
    if fault in ARRIVED:
        assert succeeded
        assert database.telemetry.settled == 1


@pytest.mark.usefixtures("table")
def test_a_commit_that_cannot_be_settled_is_unknown(connect: Connect, proxy: Proxy) -> None:
    database = connect(through(proxy))
    with (  # noqa: PT012  the block is what is tested
        pytest.raises(OutcomeUnknownError),
        deadline(1.0),
        database.transaction() as transaction,
    ):
        transaction.run(insert("a"))
        proxy.arm(Fault.CUT_ANSWERED)
        proxy.refuse(*["Couldn't connect to compute node"] * 1000)
