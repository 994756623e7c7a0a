"""The members of a task as Pydantic validates them, for the FastAPI and Powertools rivals."""

import secrets
import time
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError, PydanticKnownError


def uuid7() -> UUID:
    """Make an id that sorts by its time (RFC 9562; Python 3.14 has one built in)."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    value = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
    return UUID(int=value)


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
