"""Entity tags: a task's version is the time of its last change, which moves with every change."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from tasks import Task

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
# As `etag` writes it, and nothing else; 14 digits reach beyond the year 4000, and 15 beyond what a
# datetime can hold.
_VERSION = re.compile(r"[1-9a-f][0-9a-f]{0,13}")


class NotModified(Exception):
    """The client has this version already; `etag` is its tag."""

    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


def etag(task: Task) -> str:
    """The strong tag of a task: the microseconds of its last change."""
    return f'"{(task.updated_at - _EPOCH) // _MICROSECOND:x}"'


def etag_of_page(shown: bytes, following: str | None) -> str:
    """The strong tag of a page: what it shows, and what follows it."""
    digest = hashlib.sha256(shown)
    digest.update((following or "").encode())
    return f'"{digest.hexdigest()[:32]}"'


def versions(if_match: str | None) -> frozenset[datetime] | None:
    """The versions that a write may replace (RFC 9110, 13.1.1); None for whichever there is.

    A weak tag or one that is not ours matches nothing.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    strong = [tag for weak, tag in _TAG.findall(if_match) if not weak]
    return frozenset(
        _EPOCH + int(tag, 16) * _MICROSECOND for tag in strong if _VERSION.fullmatch(tag)
    )


def unless_seen(if_none_match: str | None, current: str) -> None:
    """Raise NotModified when the client has the current version (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return
    tags = {f'"{tag}"' for _, tag in _TAG.findall(if_none_match)}
    if if_none_match.strip() == "*" or current in tags:
        raise NotModified(current)
