"""The API as a customer sees it: HTTPS, a token, JSON, and another try when it is asked for."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import http_client

_SECONDS = 20.0  # longer than any function may take; Smoke itself has 120
_PAUSES = (0.5, 1.0, 2.0)  # seconds before each further try
_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500
_MAX_BYTES = 8 * 1024 * 1024  # Lambda returns at most 6 MB


class UnexpectedError(Exception):
    """The API did not do what it promises; the text says what, and names the request."""


@dataclass(frozen=True)
class Answer:
    """What came back; `body` is None where it was no JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any

    def expect(self, status: int) -> Any:
        """The body of an answer with this status. Raises UnexpectedError."""
        if self.status != status:
            request = self.headers.get("x-request-id", "without an id")
            raise UnexpectedError(f"answered {self.status} instead of {status} (request {request})")
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
        """Send a request; after 429 and 5xx send it again, a few times, with the same key.

        Each try has a connection of its own. Raises UnexpectedError when no response comes.
        """
        sent = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": uuid.uuid4().hex,  # so that a repeated write happens once
        } | dict(headers or {})
        for pause in _PAUSES:
            answer = self._send_once(method, path, body, sent)
            if answer.status != _TOO_MANY_REQUESTS and answer.status < _SERVER_ERROR:
                return answer
            time.sleep(pause)
        return self._send_once(method, path, body, sent)

    def _send_once(
        self, method: str, path: str, body: object, headers: Mapping[str, str]
    ) -> Answer:
        text = None if body is None else json.dumps(body).encode()
        try:
            response = http_client.request(
                method,
                f"{self.url}{path}",
                timeout=_SECONDS,
                body=text,
                headers=dict(headers),
                max_bytes=_MAX_BYTES,
            )
        except http_client.HTTPClientError as error:
            raise UnexpectedError(f"no answer ({type(error).__name__}: {error})") from error
        return _read(response)


def _read(response: http_client.Response) -> Answer:
    try:
        body = json.loads(response.body)
    except ValueError:
        body = None
    return Answer(response.status, response.headers, body)
