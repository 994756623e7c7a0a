"""No header costs the authorizer much more CPU than a good token of the same length."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.functions.handlers import Context
from tests.identity.harness import SECRET, authorizer
from tests.identity.issuers import b64, hs256, token

pytestmark = pytest.mark.campaign

LIMIT = 10_240  # bytes: what an HTTP API accepts for the request line and all headers together
ROOM = 7_400  # bytes of JSON that fit into it as base64url, beside the rest of a token
# The time to read JSON grows with its length, so a header at the limit costs more than a short good
# token. Measured: at most 3.4 times a long good token, and 17 times the shortest one.
TIMES_A_LONG_ONE = 5.0
TIMES_A_SHORT_ONE = 25.0
Verify = Callable[[str], Any]


def claims(**more: Any) -> dict[str, Any]:
    return {"iss": "shared", "sub": "alice", "exp": int(time.time()) + 3600, **more}


def good(**more: Any) -> str:
    """Return a token of the shared secret, the cheapest kind."""
    return token({"alg": "HS256"}, claims(**more), hs256(SECRET.encode()))


def inside(raw: str) -> str:
    """Return a token of the limit's length; its claims have such a text as one more member."""
    text = json.dumps(claims())[:-1] + ', "x": ' + raw * (ROOM // len(raw))
    return ".".join([b64(b'{"alg":"HS256"}'), b64(text.encode()), "AAAA"])


MANY = {str(each): 0 for each in range(ROOM // 10)}
HOSTILE: dict[str, str] = {
    "blanks": " " * LIMIT,
    "a megabyte of letters and dots": "a." * 500_000,
    "dots": "." * (LIMIT - 7),
    "three long parts and a stranger": ".".join(["A" * (LIMIT // 3 - 9)] * 3) + "!",
    "beyond ASCII": "\u0130" * (LIMIT - 7),
    "lists in lists": inside("["),
    "empty objects": inside("{},"),
    "digits": inside("9"),
    "many members": token({"alg": "HS256"}, claims(**MANY), bytes),
    "a header of many members": token({"alg": "HS256"} | MANY, claims(), bytes),
    "a long forged token": token({"alg": "HS256"}, claims(x="y" * ROOM), hs256(b"somebody's")),
}


def cpu(verify: Verify, authorization: str) -> float:
    """Return the least CPU time of several rounds, because other work can only add to it."""
    best = float("inf")
    for _ in range(9):
        started = time.process_time()
        for _ in range(20):
            verify(authorization)
        best = min(best, time.process_time() - started)
    return best


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_costs_little_more_than_a_good_token(name: str) -> None:
    handler = authorizer({"JWT_SECRET": SECRET, "JWT_ISSUER": "shared"})

    def verify(text: str) -> Any:
        return handler({"identitySource": [f"Bearer {text}"]}, Context())["context"]

    short, long = good(), good(x="y" * ROOM)
    assert verify(short).keys() == verify(long).keys() == {"sub", "exp", "actor"}
    assert "refusal" in verify(HOSTILE[name])
    hostile = cpu(verify, HOSTILE[name])
    assert hostile < TIMES_A_LONG_ONE * cpu(verify, long)
    assert hostile < TIMES_A_SHORT_ONE * cpu(verify, short)
