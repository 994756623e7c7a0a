"""Entity tags: a task's version is the time of its last change, which moves with every change."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from tasks.models import Task

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
# As `etag` writes it, and nothing else; 14 digits reach beyond the year 4000, and 15 beyond what a
# datetime can hold.
_VERSION = re.compile(r"[1-9a-f][0-9a-f]{0,13}")


def etag(task: Task) -> str:
    """Return the strong tag of a task: the microseconds of its last change."""
    return f'"{(task.updated_at - _EPOCH) // _MICROSECOND:x}"'


def etag_of_page(shown: bytes, cursor: str | None) -> str:
    """Return the strong tag of a page: what it shows, and what follows it."""
    digest = hashlib.sha256(shown)
    digest.update((cursor or "").encode())
    return f'"{digest.hexdigest()[:32]}"'


def versions(if_match: str | None) -> frozenset[datetime] | None:
    """Return the versions that a write may replace (RFC 9110, 13.1.1); None for any.

    A weak tag or one that is not ours matches nothing.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    strong = [tag for weak, tag in _TAG.findall(if_match) if not weak]
    return frozenset(
        _EPOCH + int(tag, 16) * _MICROSECOND for tag in strong if _VERSION.fullmatch(tag)
    )


def is_seen(if_none_match: str | None, current: str) -> bool:
    """Tell whether the client has the current version (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    tags = {f'"{tag}"' for _, tag in _TAG.findall(if_none_match)}
    return if_none_match.strip() == "*" or current in tags
