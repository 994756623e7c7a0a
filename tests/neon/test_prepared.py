"""Statements are prepared where that works, and `neon` finds out where it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.servers import PgBouncer, Postgres, pgbouncer_version
from neon import Database, Effect, Statement
from tests.neon.conftest import need_pgbouncer

READ, ONCE = Effect.READ, Effect.ONCE
PREPARED = Statement("SELECT name FROM pg_prepared_statements")
Connect = Callable[..., Database]


def test_statements_are_prepared_once_on_a_direct_connection(
    connect: Connect, postgres: Postgres
) -> None:
    database = connect(postgres.url)
    names = [{row["name"] for row in database.run(PREPARED, effect=READ)[0]} for _ in range(4)]
    # The survey and all settings, of the first unit alone; the usual settings, and the query.
    assert len(names[-1]) == 4
    assert names[1] == names[2] == names[3]


def test_statements_stay_prepared_across_server_connections_of_a_pooler_that_keeps_account(
    connect: Connect, new_pooler: Callable[..., PgBouncer], postgres: Postgres
) -> None:
    need_pgbouncer(1, 21)
    pooler = new_pooler(max_prepared_statements=100)
    database = connect(pooler.url())
    for _ in range(3):
        assert database.run(PREPARED, effect=READ)[0]
        postgres.terminate()  # the pooler opens another server connection, and ours stays
    assert database.telemetry.prepared_refused == 0


@pytest.mark.usefixtures("table")
def test_a_pooler_that_keeps_no_account_is_found_out_without_an_error(
    connect: Connect, new_pooler: Callable[..., PgBouncer], postgres: Postgres
) -> None:
    pooler = new_pooler(**_unaccounted())
    database = connect(pooler.url())
    database.run(effect=READ)  # the first unit of work makes more settings than the others
    insert = Statement("INSERT INTO hits VALUES ('a')")
    database.run(insert, effect=ONCE)
    postgres.terminate()  # the prepared statements are gone, and nobody says so
    database.run(insert, effect=ONCE)
    assert database.telemetry.prepared_refused == 1
    assert database.run(PREPARED, effect=READ) == [[]]
    assert len(postgres.admin("SELECT op FROM hits")) == 2


def test_two_clients_of_one_server_connection_never_run_each_others_statement(
    connect: Connect, new_pooler: Callable[..., PgBouncer]
) -> None:
    pooler = new_pooler(**_unaccounted())
    one, other = connect(pooler.url()), connect(pooler.url())
    for number in range(5):
        assert one.run(Statement("SELECT 'one' AS x"), effect=READ) == [[{"x": "one"}]]
        assert other.run(Statement("SELECT 'other' AS x"), effect=READ) == [[{"x": "other"}]]
        same = Statement("SELECT %s::int AS n", (number,))
        assert one.run(same, effect=READ) == other.run(same, effect=READ) == [[{"n": number}]]
    assert (one.telemetry.retries, other.telemetry.retries) == ({}, {})


@pytest.mark.usefixtures("table")
def test_a_table_that_changed_under_a_prepared_statement_costs_no_error(
    connect: Connect, postgres: Postgres
) -> None:
    database = connect(postgres.url)
    everything = Statement("SELECT * FROM hits")
    insert = Statement("INSERT INTO hits (op) VALUES ('a') RETURNING *")
    database.run(insert, effect=ONCE)
    database.run(everything, effect=READ)
    postgres.admin("ALTER TABLE hits ADD COLUMN at int")
    row = {"op": "a", "repeatable": False, "at": None}
    assert database.run(insert, effect=ONCE) == [[row]]
    assert database.run(everything, effect=READ) == [[row, row]]
    assert database.telemetry.prepared_refused == 1
    assert database.telemetry.connects == 1


def test_only_so_many_statements_are_prepared(connect: Connect, postgres: Postgres) -> None:
    database = connect(postgres.url)
    for number in range(300):
        sql = f"SELECT {number} AS n"
        assert database.run(Statement(sql), effect=READ) == [[{"n": number}]]
    ((row,),) = database.run(Statement("SELECT count(*) FROM pg_prepared_statements"), effect=READ)
    assert row == {"count": 256}


def _unaccounted() -> dict[str, int]:
    """Return the setting that makes PgBouncer ignore prepared statements, as old versions do."""
    return {"max_prepared_statements": 0} if pgbouncer_version() >= (1, 21) else {}
