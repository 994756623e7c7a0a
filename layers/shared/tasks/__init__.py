"""Tasks: what one looks like, what rules it obeys and how it is stored. Knows no HTTP."""

from tasks.database import database, derive_key, ping, telemetry
from tasks.models import Task, TaskCreate, TaskId, TaskUpdate, UserId
from tasks.paging import InvalidCursorError, Page, PageRequest, Sort, Status
from tasks.writes import (
    KeyInUseError,
    KeyReusedError,
    Preconditions,
    TaskNotFoundError,
    VersionMismatchError,
    WriteResult,
)

__all__ = [
    "InvalidCursorError",
    "KeyInUseError",
    "KeyReusedError",
    "Page",
    "PageRequest",
    "Preconditions",
    "Sort",
    "Status",
    "Task",
    "TaskCreate",
    "TaskId",
    "TaskNotFoundError",
    "TaskUpdate",
    "UserId",
    "VersionMismatchError",
    "WriteResult",
    "database",
    "derive_key",
    "ping",
    "telemetry",
]
