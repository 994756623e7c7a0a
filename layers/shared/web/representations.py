"""Tasks as HTTP represents them: the body, with `ETag`, `Link` and `Location`.

A task's version is the time of its last change, which moves with every change.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import BaseModel

from tasks.errors import VersionMismatchError
from tasks.idempotency import Preconditions, WriteResult
from tasks.models import (
    DESCRIPTION_LENGTH,
    EPOCH,
    MICROSECOND,
    TASKS,
    TITLE_LENGTH,
    USER_ID_LENGTH,
    Task,
)
from tasks.paging import Page, PageRequest
from web.response import Response

Headers = dict[str, str]

# Lambda returns 6 MB at most, as a JSON text in which the body is a string: its quotes and
# backslashes are escaped once more there.
PAGE_BYTES = 5_500_000
_BYTES_AROUND = 350  # a task's other members, with all the names and quotes
_BYTES_A_LETTER = 12  # at most: a surrogate pair, each half written as `\\uXXXX`
_MOST_LETTERS = TITLE_LENGTH + DESCRIPTION_LENGTH + USER_ID_LENGTH
_ALWAYS_FIT = PAGE_BYTES // (_MOST_LETTERS * _BYTES_A_LETTER + _BYTES_AROUND)

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
# As `etag` writes it, and nothing else; 14 digits reach beyond the year 4000, and 15 beyond what a
# datetime can hold.
_VERSION = re.compile(r"[1-9a-f][0-9a-f]{0,13}")


class Deleted(BaseModel, defer_build=True, json_schema_serialization_defaults_required=True):
    """The answer to a deletion; clients parse it."""

    message: Literal["Task deleted successfully"] = "Task deleted successfully"


class Health(BaseModel, defer_build=True, json_schema_serialization_defaults_required=True):
    """The answer of a service that works."""

    status: Literal["ok"] = "ok"


def preconditions(
    if_match: str | None = None, unless: str | None = None, key: str | None = None
) -> Preconditions:
    """Return the preconditions of a write, from If-Match, If-None-Match and Idempotency-Key.

    Both sets of tags become one: If-Match comes first (RFC 9110, 13.2.2), and what If-None-Match
    names is taken out of it.
    """
    wanted, unwanted = _versions(if_match), _versions(unless, weak=True)
    if unless is None:
        return Preconditions(wanted, key=key)
    if unwanted is None:  # `*`: whatever version the task is in
        return Preconditions(frozenset(), key=key)
    if wanted is None:
        return Preconditions(unwanted, unless=True, key=key)
    return Preconditions(wanted - unwanted, key=key)


def represented(
    model: BaseModel, status: int = 200, headers: Headers | None = None
) -> Response[Any]:
    """Return the model as JSON, written by the model itself."""
    return _json(status, model.model_dump_json(), headers)


def found(task: Task, if_match: str | None, if_none_match: str | None) -> Response[Task]:
    """Return the task, or 304 when the client has this version.

    Raise VersionMismatchError when it is not one of those that the client wants.
    """
    tag = etag(task)
    _check_wanted(if_match, tag)
    if _is_seen(if_none_match, tag):
        return _not_modified(tag)
    return represented(task, headers={"ETag": tag})


def listed(
    page: Page, wanted: PageRequest, url: str, if_match: str | None, if_none_match: str | None
) -> Response[list[Task]]:
    """Return the page, or 304, with a `Link` to the next page if there is one.

    `url` is the path of the list. The page is cut where it would pass what Lambda can return. Raise
    VersionMismatchError when the page is not one of those that the client wants.
    """
    kept = page.tasks[: _count_fitting(page.tasks)]
    has_more = page.has_more or len(kept) < len(page.tasks)
    cursor = page.cursor_after(kept[-1]) if has_more else None
    shown = TASKS.dump_json(kept)
    tag = _etag_of_page(shown, cursor)
    _check_wanted(if_match, tag)
    if _is_seen(if_none_match, tag):
        return _not_modified(tag)
    headers: Headers = {"ETag": tag}
    if cursor:
        headers["Link"] = _link(url, wanted._replace(cursor=cursor))
    return _json(200, shown.decode(), headers)


def created(written: WriteResult[Task], url: str) -> Response[Task]:
    """Return 201 with the task, and with its `Location` below `url`."""
    headers: Headers = {"Location": f"{url}/{written.value.id}"}
    return represented(written.value, 201, _write_headers(written) | headers)


def changed(written: WriteResult[Task]) -> Response[Task]:
    """Return the task as the write left it."""
    return represented(written.value, headers=_write_headers(written))


def deleted(written: WriteResult[None]) -> Response[Deleted]:
    """Return the message that clients parse."""
    return represented(Deleted(), headers=replayed(written.replayed))


def _link(url: str, following: PageRequest) -> str:
    """Return the link to another page, with the parameters that are not the default.

    No link is longer than the 8 kB that many proxies take: the longest user id, search and cursor
    together stay below.
    """
    return f'<{url}?{urlencode(following.query())}>; rel="next"'


def _json(status: int, text: str, headers: Headers | None) -> Response[Any]:
    """Return a response with a JSON body."""
    return Response(status, "application/json", text, headers)


def _not_modified(tag: str) -> Response[Any]:
    return Response(304, None, "", {"ETag": tag})


def _write_headers(written: WriteResult[Task]) -> Headers:
    return {"ETag": etag(written.value)} | replayed(written.replayed)


def replayed(is_replayed: bool) -> Headers:
    """Return the header of a replay."""
    return {"Idempotency-Replayed": "true"} if is_replayed else {}


def _count_fitting(tasks: list[Task]) -> int:
    """Count how many of the tasks one response can hold; at least one always fits."""
    if len(tasks) <= _ALWAYS_FIT:
        return len(tasks)
    letters = sum(len(t.title) + len(t.description or "") + len(t.user_id) for t in tasks)
    if letters * _BYTES_A_LETTER + len(tasks) * _BYTES_AROUND <= PAGE_BYTES:
        return len(tasks)  # nearly always so, and no task had to be serialized
    room = PAGE_BYTES
    for number, task in enumerate(tasks):
        room -= len(json.dumps(task.model_dump_json()))
        if room < 0:
            return number
    return len(tasks)


def etag(task: Task) -> str:
    """Return the strong tag of a task: the microseconds of its last change."""
    return f'"{(task.updated_at - EPOCH) // MICROSECOND:x}"'


def _etag_of_page(shown: bytes, cursor: str | None) -> str:
    """Return the strong tag of a page: a digest of its body and of the next page's cursor."""
    digest = hashlib.sha256(shown)
    digest.update((cursor or "").encode())
    return f'"{digest.hexdigest()[:32]}"'


def _versions(tags: str | None, *, weak: bool = False) -> frozenset[datetime] | None:
    """Return the versions that a header names (RFC 9110, 13.1); None for any.

    A tag that is not ours matches nothing, and a weak one only if `weak` tags are asked for.
    """
    if tags is None or tags.strip() == "*":
        return None
    named = [tag for is_weak, tag in _TAG.findall(tags) if weak or not is_weak]
    return frozenset(EPOCH + int(tag, 16) * MICROSECOND for tag in named if _VERSION.fullmatch(tag))


def _check_wanted(if_match: str | None, current: str) -> None:
    """Raise VersionMismatchError unless If-Match has the tag of a read (RFC 9110, 13.1.1)."""
    if if_match is None or if_match.strip() == "*":
        return
    if current not in {f'"{tag}"' for is_weak, tag in _TAG.findall(if_match) if not is_weak}:
        raise VersionMismatchError


def _is_seen(if_none_match: str | None, current: str) -> bool:
    """Tell whether the client has the current version (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    tags = {f'"{tag}"' for _, tag in _TAG.findall(if_none_match)}
    return if_none_match.strip() == "*" or current in tags
