"""HTTP for every function: one resolver that settles identity, limits, errors and logs.

It knows tasks and their errors. It does not know which routes exist: each function adds its own.
"""

from web.answers import Deleted, Health, created
from web.parameters import Body, TaskId, UserId
from web.problems import Problem
from web.resolver import PUBLIC, Resolver, api

__all__ = [
    "PUBLIC",
    "Body",
    "Deleted",
    "Health",
    "Problem",
    "Resolver",
    "TaskId",
    "UserId",
    "api",
    "created",
]
