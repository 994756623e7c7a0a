"""One recorded session: what a client sends, step by step, and a comparable form of the responses.

A path may name an earlier response: `{first}` is the id of the task that the step `first` made, and
`{first_etag}` is its ETag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.contract.client import Client
from tests.sam_local.differences import GATEWAYS_OWN, SERVERS_OWN

ORIGIN = "http://localhost:3000"
_NOBODY = "019a9f3c-5b1e-7c64-8f0a-3f1d2b7c9e55"
_ANONYMOUS = {"Authorization": None}


@dataclass(frozen=True)
class Step:
    """One request. Differences and later steps refer to it by `name`."""

    name: str
    method: str
    path: str
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A response without what differs in every session: ids, times, server names."""

    status: int
    headers: dict[str, str]
    body: str


def _create(name: str, body: Any, **headers: str | None) -> Step:
    return Step(name, "POST", "/api/{user}/tasks", body, headers=headers)


def _send(name: str, content: bytes, **headers: str | None) -> Step:
    kind = {"Content-Type": "application/json"}
    return Step(name, "POST", "/api/{user}/tasks", content=content, headers=kind | headers)


def _get(name: str, path: str, **headers: str | None) -> Step:
    return Step(name, "GET", path, headers=headers)


_TASKS = "/api/{user}/tasks"
_FIRST = _TASKS + "/{first}"

SESSION = (
    # the life of some tasks
    _get("empty list", _TASKS),
    _create("first", {"title": "Buy tea", "description": "green"}),
    _create("second", {"title": "  Wash up  "}),
    _create("third", {"title": "Ünïcödé 🍵 \u2028", "description": None}),
    _create("ignored members", {"title": "x", "id": "1", "user_id": "eve", "completed": True}),
    _create("longest title", {"title": "t" * 500, "description": "d" * 5000}),
    _get("list", _TASKS),
    _get("get", _FIRST),
    _get("get by bare hex", _TASKS + "/{first_hex}"),
    _get("get by braces", _TASKS + "/%7B{first}%7D"),
    _get("get with a query", _FIRST + "?a=1&a=2&b"),
    Step("rename", "PUT", _FIRST, {"title": "Buy more tea"}),
    Step("clear description", "PUT", _FIRST, {"description": ""}),
    Step("complete", "PUT", _FIRST, {"completed": True}),
    Step("complete by a word", "PUT", _FIRST, {"completed": "no"}),
    Step("update nothing", "PUT", _FIRST, {}),
    Step("update by nulls", "PUT", _FIRST, {"title": None, "description": None}),
    Step("toggle", "PATCH", _FIRST + "/complete"),
    Step("toggle back", "PATCH", _FIRST + "/complete", {"completed": True}),
    Step("toggle with a broken body", "PATCH", _FIRST + "/complete", content=b"{"),
    Step("delete", "DELETE", _TASKS + "/{second}"),
    Step("delete again", "DELETE", _TASKS + "/{second}"),
    _get("get deleted", _TASKS + "/{second}"),
    Step("toggle deleted", "PATCH", _TASKS + "/{second}/complete"),
    Step("update deleted", "PUT", _TASKS + "/{second}", {"title": "gone"}),
    _get("list after", _TASKS),
    # requests that are refused
    _create("blank title", {"title": "   "}),
    _create("no title", {"description": "x"}),
    _create("long title", {"title": "t" * 501}),
    _create("long description", {"title": "t", "description": "d" * 5001}),
    _create("title of a wrong type", {"title": 7}),
    _create("several errors", {"title": "", "description": []}),
    _create("a NUL", {"title": "a\0b"}),
    _create("an array", ["title"]),
    _create("a string", "title"),
    _send("malformed", b'{"title": '),
    _send("empty", b""),
    _send("a lone surrogate", b'{"title": "\\ud800"}'),
    _send("not UTF-8", b'{"title": "\xff"}'),
    _send("another type", b"title=x", **{"Content-Type": "application/x-www-form-urlencoded"}),
    _send("too large", b'{"title": "' + b"x" * 1_100_000 + b'"}'),
    Step("invalid update", "PUT", _FIRST, {"title": ""}),
    Step("invalid update of none", "PUT", f"{_TASKS}/{_NOBODY}", {"title": ""}),
    Step("valid update of none", "PUT", f"{_TASKS}/{_NOBODY}", {"title": "x"}),
    _get("no id", _TASKS + "/not-a-uuid"),
    _get("unknown id", f"{_TASKS}/{_NOBODY}"),
    # identity
    _get("no token", _TASKS, **_ANONYMOUS),
    _get("a bad token", _TASKS, Authorization="Bearer a.b.c"),
    _get("no bearer", _TASKS, Authorization="Basic YTpi"),
    _get("expired", _TASKS, Authorization="Bearer {expired}"),
    _get("another user's list", "/api/somebody/tasks"),
    Step("create for another user", "POST", "/api/somebody/tasks", {"title": "x"}),
    _get("another user's task", "/api/somebody/tasks/{first}"),
    Step("no token at all", "DELETE", _FIRST, headers=_ANONYMOUS),
    # public routes
    _get("health", "/health", **_ANONYMOUS),
    _get("specification", "/openapi.json", **_ANONYMOUS),
    _get("docs", "/docs", **_ANONYMOUS),
    # routes that do not exist
    Step("root", "POST", "/", {}),  # `make run` answers GET / with its page
    _get("nowhere", "/nowhere"),
    Step("another method", "DELETE", "/api/{user}/tasks"),
    _get("trailing slash", _TASKS + "/"),
    # browsers
    Step(
        *("preflight", "OPTIONS", _TASKS),
        headers={
            **_ANONYMOUS,
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    ),
    _get("from a page", _TASKS, Origin=ORIGIN),
    _get("from a page without a token", _TASKS, Origin=ORIGIN, **_ANONYMOUS),
    _get("error from a page", _TASKS + "/x", Origin=ORIGIN),
    _get("from another page", _TASKS, Origin="http://evil.example"),
    # caches
    _get("unchanged", _FIRST, **{"If-None-Match": "{first_etag}"}),
    Step("stale", "PUT", _FIRST, {"title": "x"}, headers={"If-Match": '"stale"'}),
    Step("last delete", "DELETE", _FIRST),
)


def play(client: Client) -> dict[str, Answer]:
    """Send the session as one user, and return the responses by step."""
    known = {"user": client.user, "expired": client.token(exp=1)}
    answers = {}
    for step in SESSION:
        response = _sent(client, step, known)
        _learn(known, step, response)
        answers[step.name] = _normalised(response, known)
    return answers


def _sent(client: Client, step: Step, known: Mapping[str, str]) -> httpx.Response:
    headers = {name: value and _filled(value, known) for name, value in step.headers.items()}
    body = {"content": step.content} if step.body is None else {"json": step.body}
    return client.send(step.method, _filled(step.path, known), headers=headers, **body)


def _filled(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: known[match[1]], text)


def _learn(known: dict[str, str], step: Step, response: httpx.Response) -> None:
    if step.method == "POST" and response.status_code == 201:
        task_id = response.json()["id"]
        known |= {step.name: task_id, f"{step.name}_hex": task_id.replace("-", "")}
        known[f"{step.name}_etag"] = response.headers.get("etag", '"none"')


def _normalised(response: httpx.Response, known: Mapping[str, str]) -> Answer:
    headers = {
        name: _anonymous(value, known)
        for name, value in response.headers.items()
        if name not in SERVERS_OWN and (name, value) not in GATEWAYS_OWN
    }
    if "vary" in headers:
        headers["vary"] = headers["vary"].removesuffix(", Origin")
    return Answer(response.status_code, headers, _anonymous(response.text, known))


def _anonymous(text: str, known: Mapping[str, str]) -> str:
    """Replace ids by the step that made them, and other ids, times and ETags by their kind."""
    for name, value in known.items():
        text = text.replace(value, f"<{name}>")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>", text)
    return re.sub(r'^(W/)?"[^"]+"$', "<etag>", text)
