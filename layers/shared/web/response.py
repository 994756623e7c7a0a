"""A response to the gateway."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Response(Generic[T]):
    """A response; `T` is the model of its JSON body. Bytes leave in base64.

    `is_fault` says that the service failed, and not the client's request.
    """

    def __init__(
        self,
        status: int,
        content_type: str | None,
        content: str | bytes,
        headers: Mapping[str, str] | None = None,
        *,
        is_fault: bool = False,
    ) -> None:
        self.status = status
        self.content = content
        self.headers = {"Content-Type": content_type} if content_type else {}
        self.headers |= headers or {}
        self.is_fault = is_fault

    def payload(self, defaults: Mapping[str, str]) -> dict[str, Any]:
        """Return the payload for the gateway; the response's own headers replace the `defaults`.

        >>> Response(200, "text/plain", b"tea").payload({})["body"]
        'dGVh'
        """
        content = self.content
        return {
            "statusCode": self.status,
            "headers": {**defaults, **self.headers},
            "body": content if isinstance(content, str) else base64.b64encode(content).decode(),
            "isBase64Encoded": isinstance(content, bytes),
        }
