"""No client ever sees what another one has set, even on the same server connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bench.servers import USER, PgBouncer, Postgres
from neon import Database, Effect, Statement, StatementError

READ, ONCE = Effect.READ, Effect.ONCE
WHO = Statement("SELECT pg_backend_pid() AS pid, current_setting('app.user_id', true) AS who")
Connect = Callable[..., Database]


@pytest.fixture
def owned(postgres: Postgres) -> Iterator[None]:
    """Make a table under row-level security in which each of 20 users owns a row."""
    postgres.admin(
        "CREATE TABLE owned (owner text PRIMARY KEY)",
        "INSERT INTO owned SELECT 'user' || n FROM generate_series(0, 19) n",
        "ALTER TABLE owned ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON owned USING (owner = current_setting('app.user_id', true))",
        f"GRANT ALL ON owned TO {USER}",
    )
    yield
    postgres.terminate()
    postgres.admin("DROP TABLE owned")


@pytest.mark.usefixtures("owned")
def test_the_acting_user_is_never_visible_to_the_next_client_of_a_server_connection(
    connect: Connect, new_pooler: Callable[..., PgBouncer]
) -> None:
    pooler = new_pooler()
    one, other = connect(pooler.url()), connect(pooler.url())
    owners = Statement("SELECT owner FROM owned")
    pids = set()
    for _ in range(5):
        mine = one.run(WHO, owners, effect=READ, settings={"app.user_id": "user1"})
        theirs = other.run(WHO, owners, effect=READ)
        assert (mine[0][0]["who"], mine[1]) == ("user1", [{"owner": "user1"}])
        assert (theirs[0][0]["who"] or "", theirs[1]) == ("", [])
        pids |= {mine[0][0]["pid"], theirs[0][0]["pid"]}
    assert len(pids) == 1, "it has to be the same server connection"


@pytest.mark.usefixtures("owned")
def test_a_unit_of_work_that_failed_leaves_no_setting_behind(
    connect: Connect, new_pooler: Callable[..., PgBouncer]
) -> None:
    pooler = new_pooler()
    one, other = connect(pooler.url()), connect(pooler.url())
    with pytest.raises(StatementError):
        one.run(Statement("SELECT 1 / 0"), effect=ONCE, settings={"app.user_id": "user1"})
    assert not other.run(WHO, effect=READ)[0][0]["who"]
