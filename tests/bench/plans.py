"""How the server finds a page: the plan of the very statement that the API sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neon import Effect, Statement
from tasks import store
from tasks.database import acting_as, database
from tasks.paging import PageRequest
from tests.bench.filling import USER

_READING = {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan"}


def plan(wanted: PageRequest) -> dict[str, Any]:
    """What was done and how long it took, as the API's role, with row-level security."""
    rows = _explain(wanted, "ANALYZE, BUFFERS, FORMAT JSON")
    content = rows[0]["QUERY PLAN"]
    explained: dict[str, Any] = content[0]
    return explained


def text(wanted: PageRequest) -> str:
    """The plan for people."""
    rows = _explain(wanted, "ANALYZE, BUFFERS, COSTS OFF")
    return "\n".join(row["QUERY PLAN"] for row in rows)


def nodes(explained: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan, from the top."""
    pending = [explained["Plan"]]
    while pending:
        node = pending.pop(0)
        yield node
        pending += node.get("Plans", [])


def rows_read(explained: dict[str, Any]) -> int:
    """How many rows the server looked at to find the page."""
    scans = [node for node in nodes(explained) if node["Node Type"] in _READING]
    # Of a node that several workers share, rows are given as the average of each one's.
    return sum(
        round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in scans
    )


def _explain(wanted: PageRequest, options: str) -> list[dict[str, Any]]:
    statement = store.page_statement(USER, wanted)
    explained = Statement(f"EXPLAIN ({options}) " + statement.sql, statement.params)
    (rows,) = database().run(explained, effect=Effect.READ, settings=acting_as(USER))
    return rows
