"""What a schema cannot say of a valid request; loaded by Schemathesis (SCHEMATHESIS_HOOKS)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import quote

import schemathesis
from schemathesis.specs.openapi.checks import use_after_free

_KEY = re.compile(r"[!-~]{1,255}")
# The gateway takes 10,240 bytes of request line and headers, and refuses more by itself.
_LONGEST = {"q": 6000}
_LONG = 2000


@schemathesis.check
def use_after_delete(context: Any, response: Any, case: schemathesis.Case[Any]) -> bool | None:
    """What is deleted is gone, but an earlier write's answer is replayed even then."""
    if response.headers.get("idempotency-replayed"):
        return None
    found: bool | None = use_after_free(context, response, case)
    return found


@schemathesis.hook
def before_call(_context: Any, case: schemathesis.Case[Any], _kwargs: Any) -> None:
    """Keep valid requests valid: a cursor is one that a list gave, a key goes with one body."""
    if case.meta is None or not case.meta.generation.mode.is_negative:
        (case.query or {}).pop("cursor", None)
    for name, value in (case.query or {}).items():
        if len(quote(str(value))) > _LONGEST.get(name, _LONG):
            case.query[name] = "\0"  # as invalid, and short enough to arrive
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(key, str) and _KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = _key_for(key, case.body)


def _key_for(key: str, body: object) -> str:
    """The key for this body: the same for the same, so that replays are among the requests."""
    said = hashlib.sha256(json.dumps(body, default=repr).encode()).hexdigest()[:12]
    return f"{said}-{key}"[:255]
