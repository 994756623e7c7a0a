"""No client ever sees what another one has set, even on the same server connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from bench.servers import USER, PgBouncer, Postgres, until
from neon import Database, Effect, Statement, StatementError
from tests.running import python

READ, ONCE = Effect.READ, Effect.ONCE
WHO = Statement("SELECT pg_backend_pid() AS pid, current_setting('app.user_id', true) AS who")
Connect = Callable[..., Database]

_WORKER = """
import json, sys
from neon import Database, Effect, Statement, StatementError
database = Database(sys.argv[1], timeout=60)
me, leaks = sys.argv[2], []
sys.stdin.readline()
for number in range(25):
    seen = database.run(
        Statement("SELECT current_setting('app.user_id', true) AS who, owner FROM owned"),
        effect=Effect.READ,
        settings={"app.user_id": me} if number % 5 else None,
    )[0]
    expected = [{"who": me, "owner": me}] if number % 5 else []
    leaks += [] if seen == expected else [seen]
database.close()
print(json.dumps({"leaks": leaks, **database.telemetry.as_dict()}))
"""


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
@pytest.mark.parametrize("failing", ["SELECT 1 / 0", "nonsense"])
def test_a_unit_of_work_that_failed_leaves_no_setting_behind(
    connect: Connect, new_pooler: Callable[..., PgBouncer], failing: str
) -> None:
    pooler = new_pooler()
    one, other = connect(pooler.url()), connect(pooler.url())
    with pytest.raises(StatementError):
        one.run(Statement(failing), effect=ONCE, settings={"app.user_id": "user1"})
    assert not other.run(WHO, effect=READ)[0][0]["who"]


@pytest.mark.usefixtures("owned")
def test_five_hundred_units_of_work_by_twenty_processes_through_one_server_connection(
    new_pooler: Callable[..., PgBouncer], postgres: Postgres
) -> None:
    pooler = new_pooler()
    with ExitStack() as stack:
        workers = [
            stack.enter_context(python(_WORKER, pooler.url(), f"user{number}"))
            for number in range(20)
        ]
        reports = []
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            output, errors = worker.communicate(timeout=120)
            assert (worker.returncode, errors) == (0, "")
            reports.append(json.loads(output))
    assert [each["leaks"] for each in reports] == [[]] * 20
    assert sum(each["units"] for each in reports) == 500
    assert [each["retries"] for each in reports] == [{}] * 20
    assert postgres.sessions() <= 1
    until(lambda: postgres.sessions("idle in transaction", "idle in transaction (aborted)") == 0)
