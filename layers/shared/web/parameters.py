"""The typed parameters that the routes declare."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks import models, orders
from tasks.models import NO_NUL, NoNul
from web.binding import Body, Parameter

__all__ = [
    "Body",
    "Cursor",
    "IdempotencyKey",
    "IfMatch",
    "IfNoneMatch",
    "Limit",
    "Search",
    "Sort",
    "Status",
    "TaskId",
    "Unless",
    "UserId",
]


UserId = Annotated[
    models.UserId, Parameter("path", description="Who the tasks belong to: the token's `sub`.")
]
TaskId = Annotated[models.TaskId, Parameter("path", description="The task's id, a UUID.")]

Limit = Annotated[
    int,
    Parameter(
        "query", ge=1, le=models.PAGE_LIMIT, description="How many tasks a page has at most."
    ),
]
Cursor = Annotated[
    Annotated[str, Field(json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"})] | None,
    Parameter("query", min_length=1, max_length=4096, description="From the `Link` of a page."),
]
Status = Annotated[orders.Status, Parameter("query", description="Which tasks to show.")]
Sort = Annotated[
    orders.Sort,
    Parameter(
        "query",
        description="The order; a leading `-` turns it round.",
        json_schema_extra={"x-default-from": "DEFAULT_SORT"},
    ),
]
Search = Annotated[
    Annotated[str, Field(max_length=models.SEARCH_LENGTH, json_schema_extra=NO_NUL), NoNul],
    Parameter(
        "query",
        description="Show tasks with this text in their title or description, in any case.",
    ),
]

IdempotencyKey = Annotated[
    str | None,
    Parameter(
        "header",
        "Idempotency-Key",
        pattern="^[!-~]{1,255}$",
        description="Do this once: the first answer is replayed for 24 hours.",
    ),
]
IfMatch = Annotated[
    str | None,
    Parameter(
        "header",
        "If-Match",
        description="Do this only if the current version has one of these tags.",
    ),
]
Unless = Annotated[
    str | None,
    Parameter(
        "header",
        "If-None-Match",
        description="Change the task only if it has none of these tags; `*` means never.",
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Parameter("header", "If-None-Match", description="Answer 304 if this is still the version."),
]
