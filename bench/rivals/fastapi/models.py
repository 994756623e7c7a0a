"""The table and the bodies as SQLModel declares them."""

from datetime import UTC, datetime
from uuid import UUID

from fields import Description, Instant, Title, uuid7
from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


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
    """A task in a response."""

    id: UUID
    user_id: str
    title: str
    description: str | None
    completed: bool
    created_at: Instant
    updated_at: Instant


class TaskCreate(SQLModel):
    """The body that creates a task."""

    title: Title
    description: Description | None = None


class TaskUpdate(SQLModel):
    """The body that changes a task; an absent or null member changes nothing."""

    title: Title | None = None
    description: Description | None = None
    completed: bool | None = None
