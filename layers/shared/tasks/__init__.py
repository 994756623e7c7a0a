"""Tasks: what one looks like, what rules it obeys and how it is stored. Knows no HTTP.

How a function starts, in INIT, is here too (cold_start), because every one imports this first.
"""

from tasks import cold_start as cold_start  # first of all
from tasks.database import database, ping, telemetry, warm
from tasks.models import Task, TaskCreate, TaskId, TaskUpdate, UserId
from tasks.paging import InvalidCursor, Page, PageRequest, Sort, Status
from tasks.writes import (
    KeyInUse,
    KeyReused,
    TaskNotFound,
    Terms,
    VersionMismatch,
    Written,
)

__all__ = [
    "InvalidCursor",
    "KeyInUse",
    "KeyReused",
    "Page",
    "PageRequest",
    "Sort",
    "Status",
    "Task",
    "TaskCreate",
    "TaskId",
    "TaskNotFound",
    "TaskUpdate",
    "Terms",
    "UserId",
    "VersionMismatch",
    "Written",
    "database",
    "ping",
    "telemetry",
    "warm",
]
