"""Plans of every list: a page is found by an index, and no other user's tasks are read for it.

A list in the order of creation reads the page and one row more, wherever the page starts. The other
orders and `q` read the user's tasks at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import psycopg
import pytest

from neon import Effect, Statement
from tasks import store
from tasks.database import acting_as, database
from tasks.orders import Sort, Status
from tasks.paging import PageRequest
from tests.tasks.conftest import forget

USER, EACH, LIMIT = "the-user", 5_000, 100
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
LISTS = [PageRequest(limit=LIMIT, status=each[0], sort=each[1]) for each in product(Status, Sort)]
SEARCHES = [PageRequest(limit=LIMIT, q=q) for q in ("described", "nothing like it")]


@pytest.fixture(scope="module", autouse=True)
def filled(tasks_url: str) -> Iterator[None]:
    """Fill the table, and have the store's functions use it."""
    with pytest.MonkeyPatch.context() as patch, psycopg.connect(tasks_url, autocommit=True) as own:
        own.execute(_FILL, {"user": USER, "each": EACH})
        own.execute("VACUUM (ANALYZE) tasks")
        patch.setenv("DATABASE_URL", tasks_url)
        forget()
        yield
        own.execute("TRUNCATE tasks CASCADE")
        database().close()
        forget()


def _name(wanted: PageRequest) -> str:
    return f"{wanted.status} {wanted.sort} {wanted.q or ''}"


@pytest.mark.parametrize("is_first", [True, False], ids=["first page", "page in the middle"])
@pytest.mark.parametrize("wanted", LISTS + SEARCHES, ids=_name)
def test_a_page_reads_no_more_than_it_has_to(wanted: PageRequest, is_first: bool) -> None:
    if not is_first:
        page = store.list_page(USER, wanted._replace(limit=1000))
        if not page.tasks:
            return
        wanted = wanted._replace(cursor=page.cursor_after(page.tasks[-1]))
    read, kinds = _plan(wanted)
    if wanted.sort in (Sort.CREATED, Sort.CREATED_DESCENDING) and not wanted.q:
        assert read <= LIMIT + 1
        assert kinds <= {"Limit", "Result", "Index Scan"}
    else:
        assert read <= EACH


def _plan(wanted: PageRequest) -> tuple[int, set[str]]:
    """Return how many rows the server read for a page, and the kinds of the plan's nodes."""
    statement = store.page_statement(USER, wanted)
    explained = Statement(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", statement.params)
    (rows,) = database().run(explained, effect=Effect.READ, settings=acting_as(USER))
    nodes = [*_nodes(rows[0]["QUERY PLAN"][0]["Plan"])]
    read = sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes
        if "Relation Name" in node
    )
    return read, {node["Node Type"] for node in nodes}


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan, from the top."""
    yield node
    for each in node.get("Plans", []):
        yield from _nodes(each)
