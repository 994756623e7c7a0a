"""The API as a customer sees it: HTTPS, a token, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import http_client

_SECONDS = 20.0  # longer than any function may take; Smoke itself has 120
_MAX_BYTES = 8 * 1024 * 1024  # Lambda returns at most 6 MB


class Unexpected(Exception):
    """The API did not do what it promises; the text says what, and names the request."""


@dataclass(frozen=True)
class Answer:
    """What came back; `body` is None where it was no JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any

    def expect(self, status: int) -> Any:
        """The body of an answer with this status. Raises Unexpected."""
        if self.status != status:
            request = self.headers.get("x-request-id", "without an id")
            raise Unexpected(f"answered {self.status} instead of {status} (request {request})")
        return self.body


@dataclass(frozen=True)
class Api:
    """One user's view of the API at `url`."""

    url: str
    user: str
    token: str = field(repr=False)

    def tasks(self, *below: str, user: str | None = None) -> str:
        """The path of the user's tasks, and what is below."""
        owner = quote(self.user if user is None else user, safe="")
        return "/".join([f"/api/{owner}/tasks", *below])

    def send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own. Raises Unexpected where no answer comes."""
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        text = None if body is None else json.dumps(body).encode()
        try:
            response = http_client.request(
                method,
                f"{self.url}{path}",
                timeout=_SECONDS,
                body=text,
                headers=sent | dict(headers or {}),
                max_bytes=_MAX_BYTES,
            )
        except http_client.HTTPClientError as error:
            raise Unexpected(f"no answer ({type(error).__name__}: {error})") from error
        return _read(response)


def _read(response: http_client.Response) -> Answer:
    try:
        body = json.loads(response.body)
    except ValueError:
        body = None
    return Answer(response.status, response.headers, body)
