"""The request's body: its size, its media type and its JSON, before any model sees it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from web.problems import ProblemError, invalid

MAX_BYTES = 1_000_000


def too_large() -> ProblemError:
    """Make the 413."""
    return ProblemError(413, f"The body is larger than {MAX_BYTES:,} bytes")


def unsupported_media_type() -> ProblemError:
    """Make the 415."""
    return ProblemError(415, "Send the body as application/json")


def read(event: Mapping[str, Any]) -> bytes:
    """Return the body's bytes; the gateway hands over in base64 what is not text."""
    body = event.get("body")
    if not isinstance(body, str):
        return b""
    if not event.get("isBase64Encoded"):
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("json_invalid", "JSON decode error") from error


def parse(raw: bytes, content_type: str) -> dict[str, Any]:
    """Return the JSON object that the body holds.

    Raises ProblemError: 413 if the body is too large, 415 if its media type is not JSON, 422 if its
    text is not JSON. Pydantic's parser is used because it bounds nesting and refuses what is not
    JSON (NaN, lone surrogates, invalid UTF-8); the standard library's accepts it or runs out of
    stack.
    """
    if len(raw) > MAX_BYTES:
        raise too_large()
    if content_type.strip() and not _is_json(content_type):
        raise unsupported_media_type()
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
