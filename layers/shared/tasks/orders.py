"""Which tasks a list shows, and in which order."""

from enum import StrEnum


class Status(StrEnum):
    """Which tasks the list shows."""

    ALL = "all"
    PENDING = "pending"
    COMPLETED = "completed"


class Sort(StrEnum):
    """The order of the list; a leading `-` turns it round. Ties are in the order of creation."""

    CREATED = "created"
    CREATED_DESCENDING = "-created"
    UPDATED = "updated"
    UPDATED_DESCENDING = "-updated"
    TITLE = "title"
    TITLE_DESCENDING = "-title"
