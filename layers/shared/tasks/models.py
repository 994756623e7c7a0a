"""What a task looks like on its way in and out, and which rules its values have to obey."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

TITLE_LENGTH = 500
DESCRIPTION_LENGTH = 5000
USER_ID_LENGTH = 255
SEARCH_LENGTH = 100
PAGE_LIMIT = 1000

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)

# For the specification: JSON Schema for what the validators below refuse.
NO_NUL: dict[str, JsonValue] = {"pattern": r"^[^\x00]*$"}
# White space, and what nobody sees either: soft hyphens, zero-width characters, fillers.
_UNSEEN = (
    r"\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
_NO_NUL_NOT_BLANK: dict[str, JsonValue] = {"pattern": rf"^[^\x00]*[^{_UNSEEN}\x00][^\x00]*$"}


def _without_nul(value: str) -> str:
    """Refuse a NUL: Postgres cannot store it, and without it the text would be another one."""
    if "\x00" in value:
        raise PydanticCustomError("string_nul", "String should not contain NUL characters")
    return value


def _trimmed(value: str) -> str:
    """Remove white space at both ends; lengths are those of the text before that.

    Refuse a text that shows nothing.
    """
    trimmed = value.strip()
    if not re.search(f"[^{_UNSEEN}]", trimmed):
        raise PydanticKnownError("string_too_short", {"min_length": 1})
    return trimmed


def _uuid(value: object) -> UUID:
    """Read any form that `uuid.UUID` takes; Pydantic's own parser takes fewer."""
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError as error:
        raise PydanticCustomError("uuid_parsing", "Input should be a valid UUID") from error


def _time(value: object) -> datetime:
    """Read an RFC 3339 time. A naive one is refused: nobody can know which instant it means.

    >>> str(_time("2026-11-21T10:30:00+01:00"))
    '2026-11-21 09:30:00+00:00'
    """
    try:
        if isinstance(value, str) and _RFC_3339.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # the 30th of February, or no year of 4 digits in UTC
        pass
    raise PydanticCustomError(
        "time_rfc3339", "Input should be an RFC 3339 time with its offset, 2026-11-21T09:30:00Z"
    )


def _utc(value: datetime) -> datetime:
    """Convert to UTC: the pooler drops a session's time zone, so rows come in the server's."""
    return value.astimezone(UTC)


def _say_what_null_does(schema: dict[str, Any], model: type["TaskUpdate"]) -> None:
    """Describe the update in the specification as its CLEARABLE has it."""
    nothing = "an absent or null member changes nothing"
    if model.CLEARABLE:
        cleared = ", ".join(sorted(model.CLEARABLE))
        nothing = f"an absent member changes nothing, and null only clears: {cleared}"
    schema["description"] = f"What a client says to change a task; {nothing}."


NoNul = AfterValidator(_without_nul)

UserId = Annotated[
    str,
    Field(min_length=1, max_length=USER_ID_LENGTH, json_schema_extra=NO_NUL),
    NoNul,
]
TaskId = Annotated[UUID, BeforeValidator(_uuid)]
Title = Annotated[
    str,
    Field(min_length=1, max_length=TITLE_LENGTH, json_schema_extra=_NO_NUL_NOT_BLANK),
    NoNul,
    AfterValidator(_trimmed),
]
Description = Annotated[str, Field(max_length=DESCRIPTION_LENGTH, json_schema_extra=NO_NUL), NoNul]
Time = Annotated[
    datetime, PlainValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""A time in a request: RFC 3339, and in UTC from here on."""

Instant = Annotated[datetime, AfterValidator(_utc)]
# (types of new members)


# The members are the table's columns. One that was added later has a default, which the recorded
# responses of before show.
class Task(BaseModel, hide_input_in_errors=True, json_schema_serialization_defaults_required=True):
    """A task as it is stored and as every response shows it."""

    id: UUID
    user_id: str
    title: str
    description: str | None
    completed: bool
    # (new members of a task)
    created_at: Instant
    updated_at: Instant


# The rest is built when it is first used, because no function needs all of it.
TASKS = TypeAdapter(list[Task], config=ConfigDict(defer_build=True))
"""A list of tasks: made of rows, and written as JSON."""


class TaskCreate(BaseModel, defer_build=True):
    """What a client says to create a task; any other member is ignored."""

    title: Title
    description: Description | None = None
    # (new members that a client may send with a new task)


class TaskUpdate(BaseModel, defer_build=True, json_schema_extra=_say_what_null_does):
    """What a client says to change a task.

    An absent member changes nothing. Null clears the members in CLEARABLE and changes no other one.
    """

    title: Title | None = None
    description: Description | None = None
    completed: bool | None = None
    # (new members that a client may change)

    CLEARABLE: ClassVar[frozenset[str]] = frozenset(
        [
            # (new members that null clears)
        ]
    )
    """Members that null clears. Text is not among them: the empty string clears a text."""

    def changes(self) -> dict[str, object]:
        """Return the members that change the task, with their new values.

        >>> TaskUpdate.model_validate({"title": None, "completed": "yes", "id": 5}).changes()
        {'completed': True}
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            name: value
            for name, value in given.items()
            if value is not None or name in self.CLEARABLE
        }
