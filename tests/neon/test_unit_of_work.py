"""A unit of work is one transaction and one round trip, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bench.proxy import Proxy
from bench.servers import Postgres
from neon import (
    ConflictError,
    Database,
    DatabaseError,
    Effect,
    Statement,
    StatementError,
    UnavailableError,
    deadline,
)
from tests.neon.conftest import through

READ, REPEATABLE, ONCE = Effect.READ, Effect.REPEATABLE, Effect.ONCE
ONE = Statement("SELECT 1 AS one")
Connect = Callable[..., Database]


def test_rows_are_dicts_and_parameters_are_bound(connect: Connect, postgres: Postgres) -> None:
    database = connect(postgres.url)
    rows = database.run(
        Statement("SELECT %s::int AS a, %s::text AS b", (7, "it's %s")),
        Statement("SELECT %(x)s::int AS x, %(x)s::int + %(y)s::int AS z", {"y": 2, "x": 1, "w": 0}),
        Statement("SELECT 'a%%' AS percent"),
        effect=READ,
    )
    assert rows == [[{"a": 7, "b": "it's %s"}], [{"x": 1, "z": 3}], [{"percent": "a%"}]]


def test_a_unit_of_work_costs_one_round_trip(connect: Connect, proxy: Proxy) -> None:
    database = connect(through(proxy))
    database.run(ONE, effect=READ)
    before = proxy.round_trips
    never_seen = Statement("SELECT 'which is prepared within the round trip'")
    for _ in range(3):
        database.run(never_seen, ONE, effect=READ, settings={"app.user_id": "alice"})
    assert proxy.round_trips - before == 3
    assert database.telemetry.round_trips == 4


@pytest.mark.usefixtures("table")
def test_an_error_rolls_back_all_of_it(connect: Connect, postgres: Postgres) -> None:
    database = connect(postgres.url)
    with pytest.raises(StatementError, match="DivisionByZero") as caught:
        database.run(
            Statement("INSERT INTO hits VALUES ('a')"),
            Statement("SELECT 1 / %s", (0,)),
            effect=ONCE,
        )
    assert caught.value.sqlstate == "22012"
    assert postgres.admin("SELECT op FROM hits") == []
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert database.telemetry.connects == 1


@pytest.mark.usefixtures("table")
def test_a_commit_that_fails_is_no_success(connect: Connect, postgres: Postgres) -> None:
    postgres.admin("ALTER TABLE hits ADD CONSTRAINT one UNIQUE (op) DEFERRABLE INITIALLY DEFERRED")
    database = connect(postgres.url)
    insert = Statement("INSERT INTO hits VALUES ('a'), ('a')")
    with pytest.raises(ConflictError) as caught:
        database.run(insert, effect=ONCE)
    assert (caught.value.sqlstate, caught.value.constraint) == ("23505", "one")
    assert postgres.admin("SELECT op FROM hits") == []
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


@pytest.mark.usefixtures("table")
def test_no_error_repeats_a_value(connect: Connect, postgres: Postgres) -> None:
    postgres.admin("ALTER TABLE hits ADD PRIMARY KEY (op)")
    database = connect(postgres.url)
    secret = "4111-1111"
    insert = Statement("INSERT INTO hits VALUES (%s)", (secret,))
    database.run(insert, effect=ONCE)
    attempts = [
        insert,
        Statement("SELECT %s::text::int", (secret,)),
        Statement("SELECT %s", (secret + "\0",)),
        Statement("SELECT %s", (secret + "\udc80",)),
        Statement("SELECT %s", (_Unknown(secret),)),
        Statement("SELECT %(a)s", {"b": secret}),
        Statement("SELECT %s, %s", (secret,)),
        Statement("SELECT %(a)s", (secret,)),
    ]
    for attempt in attempts:
        with pytest.raises(DatabaseError) as caught:
            database.run(attempt, effect=ONCE)
        assert secret not in _all_texts(caught.value)
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


def test_a_setting_that_cannot_be_sent_whole_is_refused(
    connect: Connect, postgres: Postgres
) -> None:
    with pytest.raises(StatementError):
        connect(postgres.url).run(ONE, effect=READ, settings={"app.user_id": "alice\0mallory"})


@pytest.mark.parametrize(
    "sql", ["BEGIN", " ; ; commit", "/* /* a */ */ ROLLBACK", "-- a\rCOPY pg_class TO STDOUT"]
)
def test_the_end_of_a_transaction_and_copy_are_refused(
    connect: Connect, postgres: Postgres, sql: Any
) -> None:
    with pytest.raises(StatementError, match=r"cannot hold (BEGIN|COMMIT|ROLLBACK|COPY)"):
        connect(postgres.url).run(Statement(sql), effect=ONCE)


@pytest.mark.parametrize("inner", [0.5, 60])
def test_a_statement_stops_at_the_nearer_one_of_two_deadlines(
    connect: Connect, postgres: Postgres, inner: float
) -> None:
    database = connect(postgres.url)
    with (
        deadline(60 if inner < 1 else 0.5),
        deadline(inner),
        pytest.raises(UnavailableError, match="the server stopped"),
    ):
        database.run(Statement("SELECT pg_sleep(60)"), effect=ONCE)
    assert database.telemetry.connects == 1
    rows = database.run(Statement("SHOW statement_timeout"), effect=READ)
    assert rows[0][0]["statement_timeout"] not in ("0", "450ms")


def test_large_requests_and_answers_pass(connect: Connect, proxy: Proxy) -> None:
    database = connect(through(proxy))
    megabytes = "x" * 8_000_000
    rows = database.run(Statement("SELECT %s::text AS x", (megabytes,)), effect=READ)
    assert rows == [[{"x": megabytes}]]


def test_threads_take_turns(connect: Connect, postgres: Postgres) -> None:
    database = connect(postgres.url)
    answers: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            rows = database.run(Statement("SELECT %s::int AS n", (number,)), effect=READ)
            answers.append(rows[0][0]["n"] - number)

    with ThreadPoolExecutor() as threads:
        for number in range(4):
            threads.submit(work, number)
    assert answers == [0] * 80
    assert database.telemetry.connects == 1


def test_waiting_for_the_connection_ends_with_the_deadline(
    connect: Connect, postgres: Postgres
) -> None:
    database = connect(postgres.url)
    with database._lock, deadline(0.05), pytest.raises(UnavailableError, match="other threads"):
        database.run(ONE, effect=READ)


class _Unknown:
    """A type that psycopg does not know; its text contains its value."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return self._value


def _all_texts(error: BaseException) -> str:
    """Return what a logged traceback could show: the error and everything chained to it."""
    following = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{error!r} {vars(error)}" + (_all_texts(following) if following else "")
