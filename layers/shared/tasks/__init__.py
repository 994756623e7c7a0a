"""Tasks: what one looks like, what rules it obeys and how it is stored. Knows no HTTP.

How a function starts, in INIT, is here too (cold_start), because every one imports this first.
"""

from tasks import cold_start as cold_start  # first of all
from tasks.database import database, ping, telemetry, warm
from tasks.models import Task, TaskCreate, TaskId, TaskUpdate, UserId
from tasks.paging import InvalidCursorError, Page, PageRequest, Sort, Status
from tasks.writes import (
    KeyInUseError,
    KeyReusedError,
    TaskNotFoundError,
    Terms,
    VersionMismatchError,
    Written,
)

__all__ = [
    "InvalidCursorError",
    "KeyInUseError",
    "KeyReusedError",
    "Page",
    "PageRequest",
    "Sort",
    "Status",
    "Task",
    "TaskCreate",
    "TaskId",
    "TaskNotFoundError",
    "TaskUpdate",
    "Terms",
    "UserId",
    "VersionMismatchError",
    "Written",
    "database",
    "ping",
    "telemetry",
    "warm",
]
