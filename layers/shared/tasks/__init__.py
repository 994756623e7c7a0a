"""Tasks: what one looks like, what rules it obeys and how it is stored. Knows no HTTP."""

from tasks.database import database, ping, warm
from tasks.models import Task, TaskCreate, TaskId, TaskUpdate, UserId
from tasks.store import TaskNotFound

__all__ = [
    "Task",
    "TaskCreate",
    "TaskId",
    "TaskNotFound",
    "TaskUpdate",
    "UserId",
    "database",
    "ping",
    "warm",
]
