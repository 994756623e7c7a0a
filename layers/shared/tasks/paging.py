"""Pages of the list: which tasks, in which order, from where on, and how many.

Keyset paging: a page starts after the last row of the one before, by the columns that the list is
sorted by. Rows that come and go between two pages therefore shift nothing, and a page far down
costs what the first one does.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tasks import cursors
from tasks.database import derive_key
from tasks.models import PAGE_LIMIT, Task
from tasks.orders import Sort, Status

_PURPOSE = b"cursor"


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
        value, id_ = cursors.unseal(self.cursor, self._context(user_id), derive_key(_PURPOSE))
        is_time = self.sort in (Sort.UPDATED, Sort.UPDATED_DESCENDING)
        return Position(datetime.fromisoformat(value) if is_time else value, UUID(id_))

    def cursor_after(self, task: Task) -> str:
        """Return the cursor of the page that starts after this task of the list."""
        position = (self._sorted_by(task), task.id.hex)
        return cursors.seal(position, self._context(task.user_id), derive_key(_PURPOSE))

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
