"""How the database finds a page among the tasks of ten users, with row-level security.

Plans, not times: the first page in the order of creation is a range of an index, no page reads the
tasks of another user, and a later page of any sort and filter reads no more than the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from neon import Effect, Statement
from tasks import store
from tasks.database import database, run_as
from tasks.orders import Sort
from tasks.paging import PageRequest
from tests.identity.conftest import migrate
from tests.tasks.conftest import forget
from tests.tasks.test_paging import REQUESTS, shown

USER, EACH, LIMIT = "the-user", 5_000, 100
# The sorts that have an index, and the filters with which a page of them is a range of it.
INDEXED: dict[str, set[str]] = {"created": {"status"}}
# Ten users' tasks come in turn, as in life; the older part of them is completed.
_FILL = """
INSERT INTO tasks (user_id, id, title, description, completed, created_at, updated_at)
SELECT CASE WHEN n %% 10 = 0 THEN %(user)s ELSE 'user-' || n %% 10 END,
       (lpad(to_hex(1795000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
       'Task ' || md5(n::text), 'It is described in one line: ' || n, n < %(each)s * 5,
       timestamptz '2026-11-21' + n * interval '1 millisecond',
       timestamptz '2026-11-21' + n * interval '1 millisecond'
           + (hashint4(n) %% 1000) * interval '1 hour'
FROM generate_series(1, %(each)s * 10) AS n
"""


@pytest.fixture(scope="module")
def filled(new_database: Callable[[], str]) -> Iterator[str]:
    """Fill a database, have the store's functions use it, and return its URL."""
    url = new_database()
    migrate(url)
    with pytest.MonkeyPatch.context() as patch, psycopg.connect(url, autocommit=True) as own:
        own.execute(_FILL, {"user": USER, "each": EACH})
        own.execute("VACUUM (ANALYZE) tasks")
        patch.setenv("DATABASE_URL", url)
        forget()
        yield url
        database().close()
        forget()


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("wanted", REQUESTS, ids=shown)
def test_a_later_page_reads_no_more_than_the_first(wanted: PageRequest) -> None:
    """With a filter the planner may read all tasks that match instead, and sort them."""
    first = wanted._replace(limit=LIMIT, q="described" if wanted.q else "")
    page = store.list_page(USER, first)
    second = first._replace(cursor=page.cursor_after(page.tasks[-1]))
    read = [_rows_read(store.page_statement(USER, each, 1_000_000)) for each in (first, second)]
    matching = store.list_page(USER, first._replace(limit=EACH)).tasks if wanted.filters() else []
    assert read[1] <= max(read[0], len(matching))
    served = INDEXED.get(wanted.sort.removeprefix("-"))
    is_found_by_index = served is not None and wanted.filters().keys() <= served
    assert read[0] <= (LIMIT + 1 if is_found_by_index else EACH)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("sort", [Sort.CREATED, Sort.CREATED_DESCENDING])
def test_a_page_far_down_reads_only_its_own_rows(sort: Sort) -> None:
    wanted = PageRequest(sort=sort, limit=EACH)
    task = store.list_page(USER, wanted).tasks[EACH * 9 // 10]
    far_down = wanted._replace(limit=LIMIT, cursor=wanted.cursor_after(task))
    assert _rows_read(store.page_statement(USER, far_down)) <= LIMIT + 1


@pytest.mark.usefixtures("filled")
def test_a_search_that_finds_nothing_reads_no_other_users_tasks() -> None:
    wanted = PageRequest(q="nothing like it")
    assert _rows_read(store.page_statement(USER, wanted)) <= EACH


def _rows_read(statement: Statement) -> int:
    """Return how many rows the server reads for a statement."""
    explain = Statement(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", statement.params)
    (rows,) = run_as(USER, explain, effect=Effect.READ)
    return sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in _nodes(rows[0]["QUERY PLAN"][0]["Plan"])
        if "Relation Name" in node
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan, from the top."""
    yield node
    for each in node.get("Plans", []):
        yield from _nodes(each)
