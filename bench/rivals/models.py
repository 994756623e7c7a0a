"""The task and the bodies as Pydantic validates them, for the FastAPI and Powertools rivals."""

import secrets
import time
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, StringConstraints

WITHOUT_NUL = r"^[^\x00]*$"  # Postgres stores no NUL
Title = Annotated[
    str,
    StringConstraints(min_length=1, max_length=500, strip_whitespace=True, pattern=WITHOUT_NUL),
]
Description = Annotated[str, StringConstraints(max_length=5000, pattern=WITHOUT_NUL)]
Instant = Annotated[datetime, AfterValidator(lambda value: value.astimezone(UTC))]


class TaskRead(BaseModel):
    """A task in a response."""

    id: UUID
    user_id: str
    title: str
    description: str | None
    completed: bool
    created_at: Instant
    updated_at: Instant


class TaskCreate(BaseModel):
    """The body that creates a task."""

    title: Title
    description: Description | None = None


class TaskUpdate(BaseModel):
    """The body that changes a task; an absent or null member changes nothing."""

    title: Title | None = None
    description: Description | None = None
    completed: bool | None = None


def uuid7() -> UUID:
    """Make an id that sorts by its time (RFC 9562; Python 3.14 has one built in)."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    value = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
    return UUID(int=value)
