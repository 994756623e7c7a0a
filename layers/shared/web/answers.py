"""What the routes answer, with the headers that go with it."""

from __future__ import annotations

import json
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode

from pydantic import BaseModel

from tasks import TASKS, DeleteResult, Page, Preconditions, Task, WriteResult
from tasks.models import DESCRIPTION_LENGTH, TITLE_LENGTH, USER_ID_LENGTH
from web.messages import Response
from web.versions import etag, etag_of_page, unless_seen, versions

Headers = dict[str, str]


class Deleted(BaseModel, defer_build=True):
    """The answer to a deletion; clients parse it."""

    message: Literal["Task deleted successfully"] = "Task deleted successfully"


class Health(BaseModel, defer_build=True):
    """The answer of a service that works."""

    status: Literal["ok"] = "ok"


def terms(if_match: str | None = None, key: str | None = None) -> Preconditions:
    """The terms of a write, as its request's headers say them."""
    return Preconditions(versions(if_match), key)


def answered(model: BaseModel, status: int = 200, headers: Headers | None = None) -> Response[Any]:
    """The model as JSON, written by the model itself."""
    return _json(status, model.model_dump_json(), headers)


def found(task: Task, if_none_match: str | None) -> Response[Task]:
    """The task, unless the client has this version: then NotModified is raised."""
    tag = etag(task)
    unless_seen(if_none_match, tag)
    return answered(task, headers={"ETag": tag})


def listed(page: Page, user_id: str, query: str, if_none_match: str | None) -> Response[list[Task]]:
    """The page, and a `Link` to the next one: this request's own query, moved on."""
    kept = page.tasks[: _that_fit(page.tasks)]
    has_more = page.has_more or len(kept) < len(page.tasks)
    following = page.cursor_after(kept[-1]) if has_more else None
    shown = TASKS.dump_json(kept)
    tag = etag_of_page(shown, following)
    unless_seen(if_none_match, tag)
    headers: Headers = {"ETag": tag}
    if following:
        asked = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "cursor"]
        moved_on = urlencode([*asked, ("cursor", following)])
        headers["Link"] = f'<{tasks_path(user_id)}?{moved_on}>; rel="next"'
    return _json(200, shown.decode(), headers)


def created(written: WriteResult) -> Response[Task]:
    """201 with the task and where it can be found."""
    headers: Headers = {"Location": f"{tasks_path(written.task.user_id)}/{written.task.id}"}
    return answered(written.task, 201, _of_write(written) | headers)


def changed(written: WriteResult) -> Response[Task]:
    """The task as the write left it."""
    return answered(written.task, headers=_of_write(written))


def deleted(written: DeleteResult) -> Response[Deleted]:
    """The message that clients parse."""
    return answered(Deleted(), headers=_REPLAYED if written.replayed else {})


def tasks_path(user_id: str) -> str:
    """The path of a user's tasks."""
    return f"/api/{quote(user_id, safe='')}/tasks"


def _json(status: int, text: str, headers: Headers | None) -> Response[Any]:
    """An answer whose body is written already; whoever calls says what it is the JSON of."""
    return Response(status, "application/json", text, headers)


def _of_write(written: WriteResult) -> Headers:
    return {"ETag": etag(written.task)} | (_REPLAYED if written.replayed else {})


_REPLAYED: Headers = {"Idempotency-Replayed": "true"}

# Lambda returns 6 MB at most, as a JSON text in which the body is a string: its quotes and
# backslashes are escaped once more there.
_PAGE_BYTES = 5_500_000
_BYTES_AROUND = 350  # a task's other members, with all the names and quotes
_BYTES_A_LETTER = 12  # at most: a surrogate pair, each half written as `\\\\uXXXX`
_MOST_LETTERS = TITLE_LENGTH + DESCRIPTION_LENGTH + USER_ID_LENGTH
_ALWAYS_FIT = _PAGE_BYTES // (_MOST_LETTERS * _BYTES_A_LETTER + _BYTES_AROUND)


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
