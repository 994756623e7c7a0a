"""Pages of the list: which tasks, in which order, from where on, and how many.

Keyset paging: a page starts after the last row of the one before, by the columns that the list is
sorted by. Rows that come and go between two pages therefore shift nothing, and a page far down
costs what the first one does.

A cursor is such a row's position, with a digest of the user, the filters and the order of the list.
The digest is no secret: whoever computes one can only move within their own list. It refuses a
cursor of another list, and one that was damaged on its way.
"""

import base64
import hashlib
import json
from typing import Any, NamedTuple
from uuid import UUID

from tasks.errors import InvalidCursorError
from tasks.models import PAGE_LIMIT, Task
from tasks.orders import FILTERS, Sort, Status
from tasks.settings import settings

_VERSION = b"\1"
_DIGEST_BYTES, _ID_BYTES = 16, 16


class Position(NamedTuple):
    """The row that a page starts after: the value that the list is sorted by, and the id."""

    value: object
    id: UUID


class PageRequest(NamedTuple):
    """What a client asks of the list."""

    status: Status = Status.ALL
    sort: Sort = Sort.CREATED
    q: str = ""
    limit: int = PAGE_LIMIT
    cursor: str | None = None

    def filters(self) -> dict[str, Any]:
        """Return the filters that exclude tasks, with their values."""
        values = {name: getattr(self, name) for name in FILTERS}
        default = self._field_defaults
        return {name: value for name, value in values.items() if value != default[name]}

    def query(self) -> dict[str, str]:
        """Return the parameters of the list's query that differ from their defaults, as texts."""
        given = {"sort": self.sort, "limit": self.limit, "cursor": self.cursor}
        default = {**self._field_defaults, "sort": settings().default_sort}
        return self._texts() | {k: str(v) for k, v in given.items() if v != default[k]}

    def position(self, user_id: str) -> Position | None:
        """Return the row that the page starts after, None for the first page.

        Raise InvalidCursorError.
        """
        if self.cursor is None:
            return None
        try:
            row = self._verified(_decoded(self.cursor), user_id)
            return Position(self.sort.order.read(row[_ID_BYTES:]), UUID(bytes=row[:_ID_BYTES]))
        except ValueError as error:
            raise InvalidCursorError from error

    def cursor_after(self, task: Task) -> str:
        """Return the cursor of the page that starts after this task of the list."""
        row = task.id.bytes + self.sort.order.write(task)
        return _encoded(_VERSION + self._digest(row, task.user_id) + row)

    def _verified(self, raw: bytes, user_id: str) -> bytes:
        version, digest, row = raw[:1], raw[1 : 1 + _DIGEST_BYTES], raw[1 + _DIGEST_BYTES :]
        if version != _VERSION or digest != self._digest(row, user_id):
            raise InvalidCursorError
        return row

    def _digest(self, row: bytes, user_id: str) -> bytes:
        bound = json.dumps([user_id, self.sort, self._texts()]).encode()
        return hashlib.sha256(bound + b"\0" + row).digest()[:_DIGEST_BYTES]

    def _texts(self) -> dict[str, str]:
        return {name: FILTERS[name].text(value) for name, value in self.filters().items()}


class Page(NamedTuple):
    """At most `limit` tasks of the list, and whether more follow them."""

    request: PageRequest
    tasks: list[Task]
    has_more: bool

    def cursor_after(self, task: Task) -> str:
        """Return the cursor of the page that starts after one of these tasks."""
        return self.request.cursor_after(task)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(cursor: str) -> bytes:
    """Return the bytes of a cursor. Raise ValueError for a text that `_encoded` never returns."""
    raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
    if _encoded(raw) != cursor:  # the same bytes can be written in several ways
        raise ValueError
    return raw
