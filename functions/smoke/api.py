"""The API as a customer sees it: HTTPS, a token, JSON, and another try when it is asked for.

The customer is Smoke itself, with a token that lives for minutes. It is signed here with the API's
secret (HS256). Where tokens come from an issuer with a JWKS, the secret beside it is Smoke's alone
(docs/deploying.md).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import http_client

USER = "task-api-smoke"
_LIFE_SECONDS = 300
_SECONDS = 20.0  # longer than any function may take; Smoke itself has 120
_PAUSES = (0.5, 1.0, 2.0)  # seconds before each further try
_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500
_MAX_BYTES = 8 * 1024 * 1024  # Lambda returns at most 6 MB


class UnexpectedError(Exception):
    """The API did not do what it promises; the text says what, and names the request."""


class Answer(NamedTuple):
    """What came back; `body` is None where it was no JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any

    def expect(self, status: int) -> Any:
        """Return the body of an answer with this status. Raise UnexpectedError."""
        if self.status != status:
            request = self.headers.get("x-request-id", "without an id")
            raise UnexpectedError(f"answered {self.status} instead of {status} (request {request})")
        return self.body


@dataclass(frozen=True)
class Api:
    """The API at `url`, for whom the token names."""

    url: str
    token: str = field(repr=False)

    def send(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request; after 429 and 5xx send it again, a few times, with the same key.

        Each try has a connection of its own. Raise UnexpectedError when no response comes.
        """
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": uuid.uuid4().hex,  # so that a repeated write happens once
        }
        for pause in _PAUSES:
            answer = self._send_once(method, path, body, headers)
            if answer.status != _TOO_MANY_REQUESTS and answer.status < _SERVER_ERROR:
                return answer
            time.sleep(pause)
        return self._send_once(method, path, body, headers)

    def _send_once(self, method: str, path: str, body: object, headers: dict[str, str]) -> Answer:
        try:
            response = http_client.request(
                method,
                f"{self.url}{path}",
                timeout=_SECONDS,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                max_bytes=_MAX_BYTES,
            )
        except http_client.HTTPClientError as error:
            raise UnexpectedError(f"no answer ({type(error).__name__}: {error})") from error
        try:
            return Answer(response.status, response.headers, json.loads(response.body))
        except ValueError:
            return Answer(response.status, response.headers, None)


def secret() -> str:
    """Return `JWT_SECRET`, or the current text of the secret that `JWT_SECRET_ID` names.

    Raise what `get_secret` does, and KeyError when neither is set.
    """
    if given := os.environ.get("JWT_SECRET"):
        return given
    from secrets_manager import get_secret  # only where a secret is named

    return get_secret(os.environ["JWT_SECRET_ID"])


def token(key: str) -> str:
    """Return a token for `USER`, with the issuer and audience that the API accepts."""
    now = int(time.time())
    claims: dict[str, Any] = {"sub": USER, "iat": now, "exp": now + _LIFE_SECONDS}
    for name, variable in (("iss", "JWT_ISSUER"), ("aud", "JWT_AUDIENCE")):
        if value := os.environ.get(variable):
            claims[name] = value
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    text = ".".join(map(_encoded, parts))
    return f"{text}.{_encoded(hmac.digest(key.encode(), text.encode(), hashlib.sha256))}"


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
