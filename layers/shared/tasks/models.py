"""The shapes of a task on its way in and out, and the rules that a value has to obey."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError, PydanticKnownError

_TITLE_LENGTH = 500
_DESCRIPTION_LENGTH = 5000
_USER_ID_LENGTH = 255


def _without_nul(value: str) -> str:
    """Postgres' text cannot hold a NUL, and cutting one out would change what was said."""
    if "\x00" in value:
        raise PydanticCustomError("string_nul", "String should not contain NUL characters")
    return value


def _trimmed(value: str) -> str:
    """Lengths count what was sent; what is kept has no white space around it."""
    trimmed = value.strip()
    if not trimmed:
        raise PydanticKnownError("string_too_short", {"min_length": 1})
    return trimmed


def _uuid(value: object) -> UUID:
    """Any form that `uuid.UUID` takes, which is more than Pydantic's own parser does."""
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError as error:
        raise PydanticCustomError("uuid_parsing", "Input should be a valid UUID") from error


def _utc(value: datetime) -> datetime:
    """The pooler drops a session's time zone, so rows may arrive in the server's."""
    return value.astimezone(UTC)


NoNul = AfterValidator(_without_nul)

UserId = Annotated[str, Field(min_length=1, max_length=_USER_ID_LENGTH), NoNul]
TaskId = Annotated[UUID, BeforeValidator(_uuid)]
Title = Annotated[
    str, Field(min_length=1, max_length=_TITLE_LENGTH), NoNul, AfterValidator(_trimmed)
]
Description = Annotated[str, Field(max_length=_DESCRIPTION_LENGTH), NoNul]
Instant = Annotated[datetime, AfterValidator(_utc)]


class Task(BaseModel):
    """A task as it is stored and as every answer shows it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019a9f3c-5b1e-7c64-8f0a-3f1d2b7c9e55",
                "user_id": "alice",
                "title": "Water the plants",
                "description": "The ferns twice",
                "completed": False,
                "created_at": "2026-11-21T09:30:00.123456Z",
                "updated_at": "2026-11-21T09:30:00.123456Z",
            }
        }
    )

    id: UUID
    user_id: str
    title: str
    description: str | None
    completed: bool
    created_at: Instant
    updated_at: Instant


class TaskCreate(BaseModel):
    """What a client says to create a task; any other member is ignored."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"title": "Water the plants", "description": "The ferns twice"}
        }
    )

    title: Title
    description: Description | None = None


class TaskUpdate(BaseModel):
    """What a client says to change a task; an absent or null member changes nothing."""

    model_config = ConfigDict(json_schema_extra={"example": {"completed": True}})

    title: Title | None = None
    description: Description | None = None
    completed: bool | None = None
