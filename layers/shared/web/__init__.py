"""HTTP for every function: one resolver that settles identity, limits, errors and logs.

It knows tasks and their errors. It does not know which routes exist: each function adds its own.
"""

from web.answers import Deleted, Health, answered, changed, created, deleted, found, listed, terms
from web.messages import Response
from web.parameters import (
    AcceptEncoding,
    Body,
    Cursor,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    Limit,
    Search,
    Sort,
    Status,
    TaskId,
    UserId,
)
from web.problems import Problem
from web.resolver import Resolver, api

__all__ = [
    "AcceptEncoding",
    "Body",
    "Cursor",
    "Deleted",
    "Health",
    "IdempotencyKey",
    "IfMatch",
    "IfNoneMatch",
    "Limit",
    "Problem",
    "Resolver",
    "Response",
    "Search",
    "Sort",
    "Status",
    "TaskId",
    "UserId",
    "answered",
    "api",
    "changed",
    "created",
    "deleted",
    "found",
    "listed",
    "terms",
]
