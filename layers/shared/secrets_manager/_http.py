"""One request over HTTP or HTTPS; certificates are verified by the system's roots."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["get", "post"]

_SECONDS = 2.0


def post(
    url: str, body: bytes, headers: Mapping[str, str], seconds: float = _SECONDS
) -> tuple[int, bytes]:
    """Status and body. Raises OSError and http.client.HTTPException."""
    return _send("POST", url, body, headers, seconds)


def get(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Status and body. Raises OSError and http.client.HTTPException."""
    return _send("GET", url, b"", headers)


def _send(
    method: str, url: str, body: bytes, headers: Mapping[str, str], seconds: float = _SECONDS
) -> tuple[int, bytes]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=min(seconds, _SECONDS))
    try:
        connection.request(method, parts.path or "/", body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
