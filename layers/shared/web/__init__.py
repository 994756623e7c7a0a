"""HTTP for every function: one resolver that settles identity, limits, errors and logs.

It knows tasks and their errors. It does not know which routes exist: each function adds its own.
"""

from web.answers import Deleted, Health, answered, changed, created, deleted, found, listed, terms
from web.parameters import (
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
from web.resolver import PUBLIC, Resolver, api

__all__ = [
    "PUBLIC",
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
