"""Task ids: UUIDs of version 7, so that the order of ids is the order of creation."""

import secrets
from datetime import UTC, datetime
from threading import Lock
from uuid import UUID

from tasks.models import EPOCH, MICROSECOND

_lock = Lock()
_last = EPOCH


def now() -> datetime:
    """Return the time in UTC, always later than the last call in this process returned."""
    global _last
    with _lock:
        _last = max(datetime.now(UTC), _last + MICROSECOND)
        return _last


def task_id(created_at: datetime) -> UUID:
    """Return a new id that sorts by `created_at`, to the microsecond.

    RFC 9562, section 5.7, with method 3 of section 6.2: the 12 bits after the milliseconds hold
    the fraction of the millisecond; 62 bits are random.

    >>> str(task_id(datetime(2026, 11, 21, 9, 30, tzinfo=UTC)))[:18]
    '01a1fd70-f1c0-7000'
    """
    microseconds = (created_at - EPOCH) // MICROSECOND
    milliseconds, rest = divmod(microseconds, 1000)
    fraction = rest * 4096 // 1000
    value = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
    return UUID(int=value)
