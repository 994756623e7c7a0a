"""The CPU time of a unit of work, compared with a bare `conn.execute` of the same statement."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import psycopg
import pytest

from bench.servers import Postgres
from neon import Database, Effect, Statement

pytestmark = pytest.mark.campaign

_PAIRS, _REPEATS = 200, 20
# A row like those of the API's own statements.
_ROW = Statement(
    """
    SELECT 'alice' AS user_id, gen_random_uuid() AS id, 'a title' AS title,
           'a description' AS description, false AS completed,
           now() AS created_at, now() AS updated_at
    WHERE %s::text <> ''
    """,
    ("alice",),
)


def test_a_unit_of_work_costs_little_more_than_a_bare_execute(
    postgres: Postgres, connect: Callable[..., Database]
) -> None:
    """The unit of work also makes five settings and checks liveness.

    Only this thread's CPU time is judged, in pairs of rounds of 3 milliseconds that follow each
    other: other work on the machine slows both of a pair down. The ratio depends on the processor;
    1.08 to 1.17 were measured.
    """
    database = connect(postgres.url)
    with psycopg.connect(postgres.url, autocommit=True) as connection:

        def bare() -> None:
            connection.execute(_ROW.sql, _ROW.params).fetchall()

        def unit() -> None:
            database.run(_ROW, effect=Effect.READ, settings={"app.user_id": "alice"})

        pairs = [(_cpu(bare), _cpu(unit)) for _ in range(_PAIRS)]
    assert statistics.median(ours / bares for bares, ours in pairs) <= 1.2


def _cpu(run: Callable[[], object]) -> float:
    started = time.thread_time()
    for _ in range(_REPEATS):
        run()
    return time.thread_time() - started
