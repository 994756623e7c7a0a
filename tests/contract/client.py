"""A client of the API as its users write one: plain HTTP, a token, JSON."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import jwt

_http = httpx.Client(timeout=60, trust_env=False, limits=httpx.Limits(max_connections=200))


@dataclass(frozen=True)
class Client:
    """One user's view of the API at `base_url`; every request has that user's token."""

    base_url: str
    secret: str
    user: str = field(default_factory=lambda: f"user-{uuid.uuid4()}")

    def other(self, user: str | None = None) -> Client:
        """Return a client of the same API for another user."""
        return Client(self.base_url, self.secret, user or f"user-{uuid.uuid4()}")

    def token(self, **claims: Any) -> str:
        """Return a token of this user; `claims` replace or add some, and None removes one."""
        merged = {"sub": self.user, "exp": int(time.time()) + 600} | claims
        kept = {name: value for name, value in merged.items() if value is not None}
        return jwt.encode(kept, self.secret, algorithm="HS256")

    def path(self, *parts: object, user: str | None = None) -> str:
        """Return the path of the user's tasks, or of something below it."""
        owner = quote(self.user if user is None else user, safe="")
        return "/".join([f"/api/{owner}/tasks", *map(str, parts)])

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request with this user's token, unless `headers` have another one."""
        headers = {"Authorization": f"Bearer {self.token()}"} | (options.pop("headers", None) or {})
        headers = {name: value for name, value in headers.items() if value is not None}
        return _http.request(method, self.base_url + path, headers=headers, **options)

    def create(self, **body: Any) -> dict[str, Any]:
        """Create a task and return it."""
        response = self.send("POST", self.path(), json={"title": "A task"} | body)
        assert response.status_code == 201, response.text
        task: dict[str, Any] = response.json()
        return task

    def titles(self) -> list[str]:
        """Return the titles of the user's tasks in the order of the list."""
        return [task["title"] for task in self.send("GET", self.path()).json()]


_INSIDE = ("select", "insert", "psycopg", "postgres", "traceback", ".py", "pydantic")


def problem(response: httpx.Response, status: int) -> Any:
    """Return the `detail` of an error, after checking what every error promises."""
    assert not any(word in response.text.lower() for word in _INSIDE), response.text
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["type"].startswith("/problems/")
    assert body["instance"] == response.headers["x-request-id"]
    return body["detail"]


def first_error(response: httpx.Response) -> tuple[str, list[Any]]:
    """Return the type and the place of the first error of a 422."""
    detail = problem(response, 422)
    assert all(set(error) == {"type", "loc", "msg"} and error["msg"] for error in detail)
    return detail[0]["type"], detail[0]["loc"]
