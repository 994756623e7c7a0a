"""What a schema cannot say of a valid request. Schemathesis loads it (SCHEMATHESIS_HOOKS)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import quote

import schemathesis
from schemathesis.specs.openapi.checks import use_after_free

_KEY = re.compile(r"[!-~]{1,255}")
# The gateway takes 10,240 bytes of request line and headers, and refuses a longer request itself.
_LONGEST = {"q": 6000}
_LONG = 2000


@schemathesis.check
def use_after_delete(context: Any, response: Any, case: schemathesis.Case[Any]) -> bool | None:
    """Check that a deleted task is gone. The response to an earlier write is still replayed."""
    if response.headers.get("idempotency-replayed"):
        return None
    found: bool | None = use_after_free(context, response, case)
    return found


@schemathesis.hook
def before_call(_context: Any, case: schemathesis.Case[Any], _kwargs: Any) -> None:
    """Keep valid requests valid: use a cursor from a real list, and each key with one body only."""
    if case.meta is None or not case.meta.generation.mode.is_negative:
        (case.query or {}).pop("cursor", None)
    for name, value in (case.query or {}).items():
        if len(quote(str(value))) > _LONGEST.get(name, _LONG):
            case.query[name] = "\0"  # still invalid, and short enough to reach the function
    _clear_booleans(case.body)
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(key, str) and _KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = _key_for(key, case.body)


def _clear_booleans(body: object) -> None:
    """Replace what is read as a boolean (1, "yes"), too, and is not in the specification."""
    for value in (
        body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    ):
        _clear_booleans(value)
    if isinstance(body, dict) and not isinstance(body.get("completed"), bool | None):
        body["completed"] = "neither"


def _key_for(key: str, body: object) -> str:
    """Return the key for this body. Equal bodies share a key, so that some requests are replays."""
    said = hashlib.sha256(json.dumps(body, default=repr).encode()).hexdigest()[:12]
    return f"{said}-{key}"[:255]
