"""JSON with one meaning: a text that two parsers could read differently is refused."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def parse(raw: str | bytes) -> Any:
    """Return the value that the text holds.

    Raise ValueError with a sentence that quotes none of it.

    Refused beyond the standard library's parser: a member that is there twice (RFC 7519, section
    4), NaN and Infinity, encodings other than UTF-8, and nesting that exhausts the stack.
    """
    try:
        text = raw.decode() if isinstance(raw, bytes) else raw
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON with one meaning") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _refuse(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")
