"""Pages of the list: which tasks, in which order, from where on, and how many.

Keyset paging: a page starts after the last row of the one before, by the columns that it is
sorted by, so that rows that come and go between two pages shift nothing, and a page far down costs
what the first one does. The cursor that carries that row is sealed: it is good for the user, the
filters and the order that it was made for, and for nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from pydantic import ConfigDict, TypeAdapter

from neon import Row, Statement
from tasks.database import database
from tasks.models import DESCRIPTION_LENGTH, TITLE_LENGTH, USER_ID_LENGTH, Task

LIMIT = 1000

_tasks = TypeAdapter(list[Task], config=ConfigDict(defer_build=True))  # few functions need it

_SEAL_BYTES = 16

# Lambda returns 6 MB at most, as a JSON text in which the body is a string: its quotes and
# backslashes are escaped once more there.
_PAGE_BYTES = 5_500_000
_BYTES_AROUND = 350  # a task's other members, with all the names and quotes
_BYTES_A_LETTER = 12  # at most: a surrogate pair, each half written as `\\uXXXX`
_MOST_LETTERS = TITLE_LENGTH + DESCRIPTION_LENGTH + USER_ID_LENGTH
_ALWAYS_FIT = _PAGE_BYTES // (_MOST_LETTERS * _BYTES_A_LETTER + _BYTES_AROUND)


class InvalidCursorError(Exception):
    """The cursor was altered, or made for another user, filter or order."""


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


class Page(NamedTuple):
    """Tasks, and the cursor of the page after them if there is one."""

    tasks: list[Task]
    next: str | None

    def as_json(self) -> bytes:
        """The tasks as a JSON array."""
        return _tasks.dump_json(self.tasks)


class PageRequest(NamedTuple):
    """What a client asks of the list. Raises InvalidCursorError from `statement`."""

    status: Status = Status.ALL
    sort: Sort = Sort.CREATED
    q: str = ""
    limit: int = LIMIT
    cursor: str | None = None

    def statement(self, user_id: str) -> Statement:
        """The one statement of this page; it asks for a row more, to know whether more follow."""
        after = self._open(user_id, self.cursor) if self.cursor else None
        sql = _SELECT
        if self.status is not Status.ALL:
            sql += " AND completed = %(completed)s"
        if self.q:
            sql += " AND (title ILIKE %(pattern)s OR description ILIKE %(pattern)s)"
        if after:
            sql += _AFTER[self.sort]
        sql += _ORDER[self.sort] + " LIMIT %(rows)s"
        return Statement(sql, self._params(user_id, after))

    def page(self, user_id: str, rows: list[Row]) -> Page:
        """The page that these rows make, cut where its answer would become too large."""
        tasks = _tasks.validate_python(rows[: self.limit])
        kept = tasks[: _that_fit(tasks)]
        if len(kept) == len(rows):
            return Page(kept, None)
        return Page(kept, self._seal(user_id, kept[-1]))

    def _params(self, user_id: str, after: tuple[Any, UUID] | None) -> dict[str, object]:
        value, id_ = after or (None, None)
        return {
            "user_id": user_id,
            "completed": self.status is Status.COMPLETED,
            "pattern": f"%{_literal(self.q)}%",
            "value": value,
            "id": id_,
            "rows": self.limit + 1,
        }

    def _seal(self, user_id: str, last: Task) -> str:
        position = [_position(self.sort, last), last.id.hex]
        content = json.dumps(position, ensure_ascii=False).encode()
        return _encoded(self._tag(user_id, content) + content)

    def _open(self, user_id: str, cursor: str) -> tuple[Any, UUID]:
        """The sort value and the id of the row that the page starts after."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidCursorError from error
        if _encoded(raw) != cursor:  # the same bytes can be written in several ways
            raise InvalidCursorError
        tag, content = raw[:_SEAL_BYTES], raw[_SEAL_BYTES:]
        if not hmac.compare_digest(tag, self._tag(user_id, content)):
            raise InvalidCursorError
        value, id_ = json.loads(content)
        return _value(self.sort, value), UUID(id_)

    def _tag(self, user_id: str, content: bytes) -> bytes:
        bound = json.dumps([user_id, self.status, self.sort, self.q]).encode()
        key = hmac.new(database().url().encode(), b"cursor", hashlib.sha256).digest()
        return hmac.new(key, bound + b"\0" + content, hashlib.sha256).digest()[:_SEAL_BYTES]


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _that_fit(tasks: list[Task]) -> int:
    """How many of the tasks one answer can hold; at least one always does."""
    if len(tasks) <= _ALWAYS_FIT:
        return len(tasks)
    letters = sum(len(t.title) + len(t.description or "") + len(t.user_id) for t in tasks)
    if letters * _BYTES_A_LETTER + len(tasks) * _BYTES_AROUND <= _PAGE_BYTES:
        return len(tasks)  # as nearly always, found out without writing any of them down
    room = _PAGE_BYTES
    for number, task in enumerate(tasks):
        room -= _answer_bytes(task)
        if room < 0:
            return number
    return len(tasks)


def _answer_bytes(task: Task) -> int:
    """The bytes of a task inside Lambda's answer, or a little more."""
    return len(json.dumps(task.model_dump_json()))


def _literal(text: str) -> str:
    """The text as a pattern that matches itself and nothing else."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _position(sort: Sort, task: Task) -> str | None:
    match sort.removeprefix("-"):
        case "updated":
            return task.updated_at.isoformat()
        case "title":
            return task.title
    return None


def _value(sort: Sort, position: str | None) -> object:
    if sort.removeprefix("-") == "updated" and position is not None:
        return datetime.fromisoformat(position)
    return position


_SELECT: LiteralString = """
SELECT id, user_id, title, description, completed, created_at, updated_at
FROM tasks
WHERE user_id = %(user_id)s
"""

_AFTER: dict[Sort, LiteralString] = {
    Sort.CREATED: " AND id > %(id)s",
    Sort.CREATED_DESCENDING: " AND id < %(id)s",
    Sort.UPDATED: " AND (updated_at, id) > (%(value)s, %(id)s)",
    Sort.UPDATED_DESCENDING: " AND (updated_at, id) < (%(value)s, %(id)s)",
    Sort.TITLE: " AND (lower(title), id) > (lower(%(value)s::text), %(id)s)",
    Sort.TITLE_DESCENDING: " AND (lower(title), id) < (lower(%(value)s::text), %(id)s)",
}

_ORDER: dict[Sort, LiteralString] = {
    Sort.CREATED: " ORDER BY id",
    Sort.CREATED_DESCENDING: " ORDER BY id DESC",
    Sort.UPDATED: " ORDER BY updated_at, id",
    Sort.UPDATED_DESCENDING: " ORDER BY updated_at DESC, id DESC",
    Sort.TITLE: " ORDER BY lower(title), id",
    Sort.TITLE_DESCENDING: " ORDER BY lower(title) DESC, id DESC",
}
