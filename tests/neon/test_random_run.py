"""Two thousand operations with faults, held against a model of what must be in the table."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from neon import Database, Effect, OutcomeUnknownError, Statement, UnavailableError, deadline
from tests.neon.conftest import need_pgbouncer, through
from tests.neon.proxy import Fault, Proxy
from tests.neon.servers import PgBouncer, Postgres, until
from tests.neon.test_faults import insert, insert_again

OPERATIONS = 2000
# A black hole costs all the time there is, so it is the rare one.
FAULTS = [*[each for each in Fault if each is not Fault.BLACK_HOLE] * 16, Fault.BLACK_HOLE]
Connect = Callable[..., Database]


@dataclass
class Model:
    """How often each operation may have happened, and how often what was answered."""

    allowed: dict[str, set[int]] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)

    def note(self, op: str, kind: str, outcome: str, *allowed: int) -> None:
        self.allowed[op] = set(allowed)
        self.answers[f"{kind}: {outcome}"] += 1


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("seed", [1])
def test_two_thousand_operations_with_faults_direct(
    connect: Connect, proxy: Proxy, postgres: Postgres, seed: int
) -> None:
    database = connect(through(proxy), patience=0.1)
    _run_and_check(database, proxy, postgres, random.Random(seed))  # noqa: S311


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("seed", [2])
def test_two_thousand_operations_with_faults_through_a_pooler(
    connect: Connect, new_pooler: Callable[..., PgBouncer], postgres: Postgres, seed: int
) -> None:
    need_pgbouncer(1)
    pooler = new_pooler(default_pool_size=2, server_login_retry=0)
    with Proxy(pooler.port) as proxy:
        database = connect(through(proxy), patience=0.1)
        _run_and_check(database, proxy, postgres, random.Random(seed))  # noqa: S311


def _run_and_check(
    database: Database, proxy: Proxy, postgres: Postgres, chance: random.Random
) -> None:
    model = Model()
    for number in range(OPERATIONS):
        _set_the_scene(proxy, postgres, chance)
        operation = chance.choice([_read, _repeatable, _once, _in_transaction])
        in_the_dark = proxy.fault is Fault.BLACK_HOLE
        with deadline(0.6 if in_the_dark else 20):
            operation(database, model, f"op{number}", in_the_dark)
        proxy.fault = None
    database.close()
    until(lambda: postgres.sessions("active", "idle in transaction") == 0)
    found = Counter(str(row[0]) for row in postgres.admin("SELECT op FROM hits"))
    wrong = {op: found[op] for op, allowed in model.allowed.items() if found[op] not in allowed}
    assert wrong == {}
    assert set(found) <= set(model.allowed)
    assert database.telemetry.retries["lost"] > 100, "the faults have to have happened"
    # While there is time, no fault makes a read or a repeatable write fail.
    never = {"read: unavailable", "repeatable: unavailable", "repeatable: unknown"}
    assert not {*never, "once: unavailable"} & set(model.answers)


def _set_the_scene(proxy: Proxy, postgres: Postgres, chance: random.Random) -> None:
    what = chance.random()
    if what < 0.4:
        proxy.arm(chance.choice(FAULTS), chance.random(), reset=chance.random() < 0.5)
    elif what < 0.42:
        proxy.cut_all()
    elif what < 0.43:
        postgres.terminate()


def _read(database: Database, model: Model, op: str, in_the_dark: bool) -> None:
    """Reads back an operation, the last one whose fate is known."""
    certain = [each for each, allowed in model.allowed.items() if len(allowed) == 1]
    asked = certain[-1] if certain else op
    count = Statement("SELECT count(*) AS n FROM hits WHERE op = %s", (asked,))
    try:
        rows = database.run(count, effect=Effect.READ)
    except UnavailableError:
        model.note(op, "dark read" if in_the_dark else "read", "unavailable", 0)
    else:
        assert rows[0][0]["n"] in model.allowed.get(asked, {0})
        model.note(op, "read", "done", 0)


def _repeatable(database: Database, model: Model, op: str, in_the_dark: bool) -> None:
    try:
        database.run(insert_again(op), effect=Effect.REPEATABLE)
    except OutcomeUnknownError:
        model.note(op, "dark write" if in_the_dark else "repeatable", "unknown", 0, 1)
    except UnavailableError:
        model.note(op, "dark write" if in_the_dark else "repeatable", "unavailable", 0)
    else:
        model.note(op, "repeatable", "done", 1)


def _once(database: Database, model: Model, op: str, in_the_dark: bool) -> None:
    try:
        rows = database.run(insert(op), effect=Effect.ONCE)
    except OutcomeUnknownError:
        model.note(op, "once", "unknown", 0, 1)
    except UnavailableError:
        model.note(op, "dark write" if in_the_dark else "once", "unavailable", 0)
    else:
        assert rows == [[{"op": op}]]
        model.note(op, "once", "done", 1)


def _in_transaction(database: Database, model: Model, op: str, _: bool) -> None:
    try:
        with database.transaction() as transaction:
            if op.endswith(("0", "2", "4")):
                transaction.run(Statement("SELECT 1"))
            transaction.run(insert(op))
    except UnavailableError:
        model.note(op, "transaction", "unavailable", 0)
    except OutcomeUnknownError:
        model.note(op, "transaction", "unknown", 0, 1)
    else:
        model.note(op, "transaction", "done", 1)
