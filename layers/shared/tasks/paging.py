"""Pages of the list: which tasks, in which order, from where on, and how many.

Keyset paging: a page starts after the last row of the one before, by the columns that the list is
sorted by. Rows that come and go between two pages therefore shift nothing, and a page far down
costs what the first one does.

A cursor is such a row's position, sealed, so that a client can only hand it back: it is bound to
the user, the filters and the order of the list, and opens in no other one.
"""

import base64
import binascii
import hashlib
import hmac
import json
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from tasks.database import derive_key
from tasks.errors import InvalidCursorError
from tasks.models import PAGE_LIMIT, Task
from tasks.orders import Sort, Status

_PURPOSE = b"cursor"
_TAG_BYTES = 16


class Position(NamedTuple):
    """The row that a page starts after: what the list is sorted by, and the id."""

    value: str | datetime | None
    id: UUID


class PageRequest(NamedTuple):
    """What a client asks of the list."""

    status: Status = Status.ALL
    sort: Sort = Sort.CREATED
    q: str = ""
    limit: int = PAGE_LIMIT
    cursor: str | None = None

    def position(self, user_id: str) -> Position | None:
        """Return the row that the page starts after, None for the first page.

        Raise InvalidCursorError.
        """
        if self.cursor is None:
            return None
        value, id_ = _unseal(self.cursor, self._context(user_id))
        is_time = self.sort in (Sort.UPDATED, Sort.UPDATED_DESCENDING)
        return Position(datetime.fromisoformat(value) if is_time else value, UUID(id_))

    def cursor_after(self, task: Task) -> str:
        """Return the cursor of the page that starts after this task of the list."""
        return _seal((self._sorted_by(task), task.id.hex), self._context(task.user_id))

    def _sorted_by(self, task: Task) -> str | None:
        match self.sort:
            case Sort.UPDATED | Sort.UPDATED_DESCENDING:
                return task.updated_at.isoformat()
            case Sort.TITLE | Sort.TITLE_DESCENDING:
                return task.title
        return None

    def _context(self, user_id: str) -> list[str]:
        return [user_id, self.status, self.sort, self.q]


class Page(NamedTuple):
    """At most `limit` tasks of the list, and whether more follow them."""

    request: PageRequest
    tasks: list[Task]
    has_more: bool

    def cursor_after(self, task: Task) -> str:
        """Return the cursor of the page that starts after one of these tasks."""
        return self.request.cursor_after(task)


def _seal(position: object, context: list[str]) -> str:
    """Return the cursor for a position, a value that JSON can hold."""
    content = json.dumps(position, ensure_ascii=False).encode()
    return _encoded(_tag(content, context) + content)


def _unseal(cursor: str, context: list[str]) -> Any:
    """Return the position that was sealed. Raise InvalidCursorError for any other cursor."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidCursorError from error
    if _encoded(raw) != cursor:  # the same bytes can be written in several ways
        raise InvalidCursorError
    tag, content = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(content, context)):
        raise InvalidCursorError
    return json.loads(content)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _tag(content: bytes, context: list[str]) -> bytes:
    bound = json.dumps(context).encode()
    return hmac.digest(derive_key(_PURPOSE), bound + b"\0" + content, hashlib.sha256)[:_TAG_BYTES]
