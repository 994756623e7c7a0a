"""A request: an HTTP API's payload 2.0, read without trusting any part of it.

The body is looked at last: its size, its media type and its JSON, before any model sees it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import binascii
import codecs
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from pydantic_core import from_json

from web.problems import ProblemError, invalid

MAX_BODY_BYTES = 1_000_000


class Request:
    """A payload 2.0 event; parts that are missing or malformed are empty.

    The gateway has matched the route and decoded the path parameters, so no second matching or
    decoding can disagree with it.
    """

    def __init__(self, event: object) -> None:
        self.event: Mapping[str, Any] = event if isinstance(event, dict) else {}
        self.path = _strings(self.event.get("pathParameters"))
        self.headers = _strings(self.event.get("headers"), str.lower)

    @property
    def query(self) -> Mapping[str, str | list[str]]:
        """Return the query as it was sent: the gateway's own reading joins repeated values.

        >>> Request({"rawQueryString": "q=tea&sort=title&sort=-title"}).query
        {'q': 'tea', 'sort': ['title', '-title']}
        """
        query = self.event.get("rawQueryString")
        if not isinstance(query, str) or not query:
            return {}
        # No URL can hold a lone surrogate.
        values = parse_qs(query.encode("utf-8", "replace").decode(), keep_blank_values=True)
        return {name: each if each[1:] else each[0] for name, each in values.items()}

    @property
    def json(self) -> dict[str, Any]:
        """Return the body's JSON object. Raise ProblemError: 413, 415 or 422."""
        return _parse(_read(self.event), self.headers)


def _strings(value: object, name: Callable[[Any], str] = str) -> dict[str, str]:
    """Return the members of a mapping that are texts; {} for any other value."""
    if not isinstance(value, Mapping):
        return {}
    return {name(key): text for key, text in value.items() if isinstance(text, str)}


def too_large() -> ProblemError:
    """Make the 413."""
    return ProblemError(413, f"The body is larger than {MAX_BODY_BYTES:,} bytes")


def unsupported_media_type() -> ProblemError:
    """Make the 415 of a body that is not JSON."""
    return ProblemError(415, "Send the body as application/json")


def unsupported_coding() -> ProblemError:
    """Make the 415 of a compressed body; its header says which codings there are."""
    return ProblemError(415, "Send the body uncompressed", {"Accept-Encoding": "identity"})


def _read(event: Mapping[str, Any]) -> bytes:
    """Return the body's bytes; the gateway sends a body that is not text in base64."""
    body = event.get("body")
    if not isinstance(body, str):
        return b""
    if not event.get("isBase64Encoded"):
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("json_invalid", "JSON decode error") from error


def _parse(raw: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON object that the body holds.

    Raise ProblemError: 413 if the body is too large, 415 if its media type is not JSON or it is
    compressed, 422 if its text is not JSON. Pydantic's parser is used because it bounds nesting and
    refuses what is not JSON (NaN, lone surrogates, invalid UTF-8); the standard library's accepts
    it or runs out of stack.
    """
    if len(raw) > MAX_BODY_BYTES:
        raise too_large()
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise unsupported_coding()
    content_type = headers.get("content-type", "")
    if content_type.strip() and not _is_json(content_type):
        raise unsupported_media_type()
    raw = raw.removeprefix(codecs.BOM_UTF8)  # which a parser may ignore (RFC 8259, 8.1)
    if not raw.strip():
        raise _invalid("missing", "Field required")
    try:
        value = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise _invalid("json_invalid", "JSON decode error") from error
    if not isinstance(value, dict):
        raise _invalid("model_attributes_type", "Input should be a valid JSON object")
    return value


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _invalid(type_: str, message: str) -> ProblemError:
    return invalid([{"type": type_, "loc": ("body",), "msg": message}])
