"""What the routes answer, with the headers that go with it."""

from __future__ import annotations

from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode

from aws_lambda_powertools.event_handler import Response
from pydantic import BaseModel

from tasks import Page, Task, Terms, Written
from web.versions import etag, etag_of_page, unless_seen, versions

_JSON = "application/json"


class Deleted(BaseModel):
    """The answer to a deletion; clients parse it."""

    message: Literal["Task deleted successfully"] = "Task deleted successfully"


class Health(BaseModel):
    """The answer of a service that works."""

    status: Literal["ok"] = "ok"


def terms(if_match: str | None = None, key: str | None = None) -> Terms:
    """The terms of a write, as its request's headers say them."""
    return Terms(versions(if_match), key)


def found(task: Task, if_none_match: str | None) -> Response[Task]:
    """The task, unless the client has this version: then NotModified is raised."""
    tag = etag(task)
    unless_seen(if_none_match, tag)
    return Response(200, _JSON, task, {"ETag": tag})


def listed(page: Page, user_id: str, query: str, if_none_match: str | None) -> Response[list[Task]]:
    """The page, and a `Link` to the next one: this request's own query, moved on."""
    tag = etag_of_page(page.tasks, page.next)
    unless_seen(if_none_match, tag)
    headers = {"ETag": tag}
    if page.next:
        kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "cursor"]
        following = urlencode([*kept, ("cursor", page.next)])
        headers["Link"] = f'<{tasks_path(user_id)}?{following}>; rel="next"'
    return Response(200, _JSON, page.tasks, headers)


def created(written: Written) -> Response[Task]:
    """201 with the task and where it can be found."""
    headers = {"Location": f"{tasks_path(written.task.user_id)}/{written.task.id}"}
    return Response(201, _JSON, written.task, _of_write(written) | headers)


def changed(written: Written) -> Response[Task]:
    """The task as the write left it."""
    return Response(200, _JSON, written.task, _of_write(written))


def deleted(written: Written) -> Response[Deleted]:
    """The message that clients parse."""
    headers = _of_write(written)
    del headers["ETag"]
    return Response(200, _JSON, Deleted(), headers)


def tasks_path(user_id: str) -> str:
    """The path of a user's tasks."""
    return f"/api/{quote(user_id, safe='')}/tasks"


def _of_write(written: Written) -> dict[str, str | list[str]]:
    headers: dict[str, str | list[str]] = {"ETag": etag(written.task)}
    if written.replayed:
        headers["Idempotency-Replayed"] = "true"
    return headers
