"""Cursors: where a page of a list begins, sealed so that a client can only hand it back.

A cursor is bound to a context (the user, the filters and the order of the list) and opens in no
other one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

from tasks.errors import InvalidCursorError

_TAG_BYTES = 16


def seal(position: object, context: object, key: bytes) -> str:
    """Return the cursor for a position. Position and context are values that JSON can hold."""
    content = json.dumps(position, ensure_ascii=False).encode()
    return _encoded(_tag(content, context, key) + content)


def unseal(cursor: str, context: object, key: bytes) -> Any:
    """Return the position that was sealed. Raise InvalidCursorError for any other cursor."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidCursorError from error
    if _encoded(raw) != cursor:  # the same bytes can be written in several ways
        raise InvalidCursorError
    tag, content = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(content, context, key)):
        raise InvalidCursorError
    return json.loads(content)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _tag(content: bytes, context: object, key: bytes) -> bytes:
    bound = json.dumps(context).encode()
    return hmac.digest(key, bound + b"\0" + content, hashlib.sha256)[:_TAG_BYTES]
