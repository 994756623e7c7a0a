"""What a request says: an HTTP API's payload 2.0, read without trusting any part of it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from web import body


class Request:
    """A payload 2.0 event, whatever is missing from it or is not what it should be.

    The gateway has matched the route and decoded the path parameters, so no second matching or
    decoding can disagree with it.
    """

    def __init__(self, event: object) -> None:
        self.event: Mapping[str, Any] = event if isinstance(event, dict) else {}
        self.path = _strings(self.event.get("pathParameters"))
        self.headers = _strings(self.event.get("headers"), str.lower)

    @property
    def query(self) -> Mapping[str, str | list[str]]:
        """Return the query as it was sent: the gateway's own reading joins repeated values."""
        query = self.event.get("rawQueryString")
        if not isinstance(query, str) or not query:
            return {}
        # No URL can hold a lone surrogate.
        values = parse_qs(query.encode("utf-8", "replace").decode(), keep_blank_values=True)
        return {name: each if each[1:] else each[0] for name, each in values.items()}

    @property
    def json(self) -> dict[str, Any]:
        """Return the body's JSON object. Raise ProblemError: 413, 415 or 422."""
        return body.parse(body.read(self.event), self.headers.get("content-type", ""))


def _strings(value: object, name: Callable[[Any], str] = str) -> dict[str, str]:
    """Return the text members of what should be a mapping of texts."""
    if not isinstance(value, Mapping):
        return {}
    return {name(key): text for key, text in value.items() if isinstance(text, str)}
