"""What comes in and what goes out: a request and an answer, as an HTTP API's payload 2.0 has them.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs

T = TypeVar("T")


class Request:
    """A payload 2.0 event, whatever is missing from it or is not what it should be."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.event = event
        self.route = str(event.get("routeKey") or "none")
        """The method and the path template that the gateway matched.

        The gateway has also decoded the path parameters.
        """
        self.path_parameters = _strings(event.get("pathParameters"))
        self.query = _query(event.get("rawQueryString"))
        """The query as it was sent."""
        self.headers = _strings(event.get("headers"), str.lower)

    def given(self) -> dict[str, Mapping[str, Any]]:
        """What there is for arguments beside the body, by place and name.

        The query is read as it was sent: the gateway's own reading joins repeated values by commas.
        """
        values = parse_qs(self.query, keep_blank_values=True) if self.query else {}
        return {
            "path": self.path_parameters,
            "query": {name: each if each[1:] else each[0] for name, each in values.items()},
            "header": self.headers,
        }


class Response(Generic[T]):
    """An answer; `T` is what its text is the JSON of. Bytes leave in base64."""

    def __init__(
        self,
        status: int,
        content_type: str | None,
        content: str | bytes,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.content = content
        self.headers = {"Content-Type": content_type} if content_type else {}
        self.headers |= headers or {}

    def payload(self, common: Mapping[str, str]) -> dict[str, Any]:
        """What the gateway takes, with the `common` headers that this answer has not itself."""
        content = self.content
        return {
            "statusCode": self.status,
            "headers": {**common, **self.headers},
            "body": content if isinstance(content, str) else base64.b64encode(content).decode(),
            "isBase64Encoded": isinstance(content, bytes),
        }


def _query(value: object) -> str:
    """The query if it is text, without lone surrogates: no URL can have come with one."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _strings(value: object, name: Callable[[Any], str] = str) -> dict[str, str]:
    """The text members of what should be a mapping of texts."""
    if not isinstance(value, Mapping):
        return {}
    return {name(key): text for key, text in value.items() if isinstance(text, str)}
