"""Tasks: what one looks like, what rules it obeys and how it is stored. Knows no HTTP.

Importing it does nothing but define; the database is opened when something first asks for it.
"""

from tasks.database import database, derive_key, ping, telemetry
from tasks.errors import (
    InvalidCursorError,
    KeyInUseError,
    KeyReusedError,
    QuotaExceededError,
    TaskNotFoundError,
    VersionMismatchError,
)
from tasks.idempotency import DeleteResult, Preconditions, WriteResult
from tasks.models import (
    PAGE_LIMIT,
    SEARCH_LENGTH,
    TASKS,
    Task,
    TaskCreate,
    TaskId,
    TaskUpdate,
    UserId,
)
from tasks.paging import Page, PageRequest, Sort, Status

__all__ = [
    "PAGE_LIMIT",
    "SEARCH_LENGTH",
    "TASKS",
    "DeleteResult",
    "InvalidCursorError",
    "KeyInUseError",
    "KeyReusedError",
    "Page",
    "PageRequest",
    "Preconditions",
    "QuotaExceededError",
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
