"""The sorts and the filters of the list: one table of each.

The statement of a page, its cursor, the link to the next page, the specification, the values of
`DefaultSort` and the tests of pages and their plans follow from them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from enum import StrEnum
from typing import Any, LiteralString, NamedTuple


class Key(NamedTuple):
    """A value that tasks are sorted by, ahead of their ids.

    `expression` is SQL over `{0}`, which is the column `member`, or a cursor's value of this
    `type`. `read` reads that value from a cursor and raises ValueError for what it never was.

    A key with an index has to be leakproof, because row-level security lets no other condition into
    an index: `coalesce` is not, and makes a page read all tasks of the user. Write a nullable key
    as `CASE WHEN {0} IS NULL THEN 'infinity' ELSE {0} END` instead.
    """

    member: LiteralString
    type: LiteralString
    read: Callable[[str], object]
    expression: LiteralString = "{0}"

    @property
    def of_row(self) -> LiteralString:
        """Return the key of a row, as SQL."""
        return self.expression.format(self.member)

    @property
    def of_cursor(self) -> LiteralString:
        """Return the key of the row that a page starts after, as SQL."""
        return self.expression.format(f"%(value)s::{self.type}")


class Order(NamedTuple):
    """The order of a list: by a key, if there is one, and then by id."""

    key: Key | None
    descending: bool

    @property
    def by(self) -> LiteralString:
        """Return the columns of the ORDER BY clause."""
        columns: list[LiteralString] = [self.key.of_row] if self.key else []
        return ", ".join(f"{each} DESC" if self.descending else each for each in [*columns, "id"])

    @property
    def after(self) -> LiteralString:
        """Return the condition for the rows after a cursor's."""
        sign: LiteralString = "<" if self.descending else ">"
        if self.key is None:
            return f"id {sign} %(id)s"
        return f"({self.key.of_row}, id) {sign} ({self.key.of_cursor}, %(id)s)"

    def write(self, task: object) -> bytes:
        """Return the task's value of the key as a cursor holds it: empty for null."""
        value = getattr(task, self.key.member) if self.key else None
        if value is None:
            return b""
        return f"={value.isoformat() if isinstance(value, date) else value}".encode()

    def read(self, written: bytes) -> object:
        """Return the value that `write` has written. Raise ValueError for any other bytes."""
        if not written:
            return None
        text = written.decode()
        if self.key is None or text[0] != "=" or "\0" in text:
            raise ValueError
        return self.key.read(text[1:])


_UPDATED = Key("updated_at", "timestamptz", datetime.fromisoformat)
_TITLE = Key("title", "text", str, "lower({0})")


class Sort(StrEnum):
    """The order of the list; a leading `-` turns it round. Ties are in the order of creation."""

    order: Order

    def __new__(cls, name: str, key: Key | None = None) -> Sort:
        """Make a sort by a key, if there is one, and then by id, which is the order of creation."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.order = Order(key, descending=name.startswith("-"))
        return member

    CREATED = "created"
    CREATED_DESCENDING = "-created"
    UPDATED = "updated", _UPDATED
    UPDATED_DESCENDING = "-updated", _UPDATED
    TITLE = "title", _TITLE
    TITLE_DESCENDING = "-title", _TITLE


class Status(StrEnum):
    """Which tasks the list shows."""

    ALL = "all"
    PENDING = "pending"
    COMPLETED = "completed"


class Filter(NamedTuple):
    """A member of PageRequest that excludes tasks unless it has its default.

    `condition` is SQL with one parameter, which has the member's name; `parameter` makes its value
    from the member's, and `text` the text that links and cursors have.
    """

    condition: LiteralString
    parameter: Callable[[Any], object]
    text: Callable[[Any], str] = str


def _pattern(q: str) -> str:
    """Return the pattern for texts that contain `q`."""
    escaped = q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


FILTERS = {
    "status": Filter("completed = %(status)s", lambda status: status is Status.COMPLETED),
    "q": Filter("(title ILIKE %(q)s OR description ILIKE %(q)s)", _pattern),
}
