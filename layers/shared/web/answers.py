"""What the routes answer, with the headers that go with it."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode

from pydantic import BaseModel

from tasks import Page, Task, Terms, Written
from web.messages import Response
from web.versions import etag, etag_of_page, unless_seen, versions

Headers = dict[str, str]


class Deleted(BaseModel, defer_build=True):
    """The answer to a deletion; clients parse it."""

    message: Literal["Task deleted successfully"] = "Task deleted successfully"


class Health(BaseModel, defer_build=True):
    """The answer of a service that works."""

    status: Literal["ok"] = "ok"


def terms(if_match: str | None = None, key: str | None = None) -> Terms:
    """The terms of a write, as its request's headers say them."""
    return Terms(versions(if_match), key)


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
    shown = page.as_json()
    tag = etag_of_page(shown, page.next)
    unless_seen(if_none_match, tag)
    headers: Headers = {"ETag": tag}
    if page.next:
        kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "cursor"]
        following = urlencode([*kept, ("cursor", page.next)])
        headers["Link"] = f'<{tasks_path(user_id)}?{following}>; rel="next"'
    return _json(200, shown.decode(), headers)


def created(written: Written) -> Response[Task]:
    """201 with the task and where it can be found."""
    headers: Headers = {"Location": f"{tasks_path(written.task.user_id)}/{written.task.id}"}
    return answered(written.task, 201, _of_write(written) | headers)


def changed(written: Written) -> Response[Task]:
    """The task as the write left it."""
    return answered(written.task, headers=_of_write(written))


def deleted(written: Written) -> Response[Deleted]:
    """The message that clients parse."""
    headers = _of_write(written)
    del headers["ETag"]
    return answered(Deleted(), headers=headers)


def tasks_path(user_id: str) -> str:
    """The path of a user's tasks."""
    return f"/api/{quote(user_id, safe='')}/tasks"


def _json(status: int, text: str, headers: Headers | None) -> Response[Any]:
    """An answer whose body is written already; whoever calls says what it is the JSON of."""
    return Response(status, "application/json", text, headers)


def _of_write(written: Written) -> Headers:
    headers: Headers = {"ETag": etag(written.task)}
    if written.replayed:
        headers["Idempotency-Replayed"] = "true"
    return headers
