"""The table, and what comes in and goes out, as SQLModel has them."""

import secrets
import time
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError, PydanticKnownError
from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel


def uuid7() -> UUID:
    """A new id that sorts by the time it was made at (RFC 9562; Python 3.14 brings its own)."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    value = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
    return UUID(int=value)


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


def _without_nul(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("string_nul", "String should not contain NUL characters")
    return value


def _trimmed(value: str) -> str:
    trimmed = value.strip()
    if not trimmed:
        raise PydanticKnownError("string_too_short", {"min_length": 1})
    return trimmed


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


NoNul = AfterValidator(_without_nul)
Title = Annotated[str, Field(min_length=1, max_length=500), NoNul, AfterValidator(_trimmed)]
Description = Annotated[str, Field(max_length=5000), NoNul]
Instant = Annotated[datetime, AfterValidator(_utc)]


class Task(SQLModel, table=True):
    """A row of the table."""

    __tablename__ = "tasks"

    user_id: str = Field(primary_key=True)
    id: UUID = Field(default_factory=uuid7, primary_key=True)
    title: str
    description: str | None = None
    completed: bool = False
    created_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


class TaskRead(SQLModel):
    """A task in an answer."""

    id: UUID
    user_id: str
    title: str
    description: str | None
    completed: bool
    created_at: Instant
    updated_at: Instant


class TaskCreate(SQLModel):
    """What a client says to create a task."""

    title: Title
    description: Description | None = None


class TaskUpdate(SQLModel):
    """What a client says to change a task; an absent or null member changes nothing."""

    title: Title | None = None
    description: Description | None = None
    completed: bool | None = None


class Deleted(SQLModel):
    """The answer to a deletion."""

    message: Literal["Task deleted successfully"] = "Task deleted successfully"
