"""No header costs the authorizer much more CPU than a good token of the same length."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.identity.harness import SECRET, Context, authorizer
from tests.identity.issuers import Jwks, Key, b64, hs256, token

pytestmark = pytest.mark.campaign

LIMIT = 10_240  # bytes: what an HTTP API accepts for the request line and all headers together
ISSUER = "https://issuer.example"
# The time to read JSON grows with its length, so a header at the limit costs more than a short good
# token. Measured: at most 3.4 times a long good token, and 12 times the shortest one.
TIMES_A_LONG_ONE = 5.0
TIMES_A_SHORT_ONE = 25.0
ED = Key.new("EdDSA", "ed")
Verify = Callable[[str], Any]


def claims(**more: Any) -> dict[str, Any]:
    return {"iss": "shared", "sub": "alice", "exp": int(time.time()) + 3600, **more}


def good(**more: Any) -> str:
    """Return a token of the shared secret, the cheapest kind."""
    return "Bearer " + token({"alg": "HS256"}, claims(**more), hs256(SECRET.encode()))


def filled(raw: Callable[[int], str], header: bool = False) -> str:
    """Return a bearer header of the limit's length, whose claims (or header) are such a text."""
    other = '{"alg":"HS256"}' if not header else json.dumps(claims())
    room = (LIMIT - 100 - len(other) * 4 // 3) * 3 // 4
    text = raw(room)
    parts = (text, other) if header else (other, text)
    return ("Bearer " + ".".join([*(b64(part.encode()) for part in parts), "AAAA"]))[:LIMIT]


def inside(raw: str) -> str:
    """Return claims that lead to the shared secret, with such a text as one more member."""
    return json.dumps(claims())[:-1] + ', "x": ' + raw + "}"


HEADERS: dict[str, Callable[[int], str]] = {
    "blanks": lambda n: " " * n,
    "Bearer and blanks": lambda n: "Bearer" + " " * (n - 6),
    "Bearer, a letter, blanks and a line break": lambda n: "Bearer x" + " " * (n - 9) + "\n",
    "Bearer, letters and blanks by turns": lambda n: "Bearer " + "x " * ((n - 7) // 2),
    "dots": lambda n: "Bearer " + "." * (n - 7),
    "letters and dots by turns": lambda n: "Bearer " + "a." * ((n - 7) // 2),
    "three long parts and a stranger": lambda n: (
        "Bearer " + ".".join(["A" * (n // 3 - 3)] * 3)[:-1] + "!"
    ),
    "padding": lambda n: "Bearer a.b." + "=" * (n - 11),
    "beyond ASCII": lambda n: "Bearer " + "\u0130" * (n - 7),
}

TOKENS: dict[str, str] = {
    "claims of lists in lists": filled(lambda n: inside("[" * (n - 200))),
    "claims of empty objects": filled(lambda n: inside("[" + "{}," * ((n - 200) // 3) + "0]")),
    "claims of many members": filled(
        lambda n: json.dumps(claims(**{str(i): 0 for i in range((n - 400) // 10)}))
    ),
    "a number of 4,300 digits": filled(lambda n: inside("9" * min(4300, n - 200))),
    "many digits behind a point": filled(lambda n: inside("0." + "0" * (n - 300) + "1")),
    "escapes": filled(lambda n: inside('"' + "\\u0041" * ((n - 200) // 6) + '"')),
    "white space": filled(lambda n: " " * (n - 200) + json.dumps(claims())),
    "a text without an end": filled(lambda n: inside('"' + "x" * (n - 200))),
    "a long key id": filled(lambda n: '{"alg":"HS256","kid":"' + "x" * (n - 200) + '"}', True),
    "a header of many members": filled(
        lambda n: json.dumps({"alg": "HS256"} | {str(i): 0 for i in range((n - 400) // 10)}), True
    ),
    "a header of lists in lists": filled(lambda n: '{"alg":' + "[" * (n - 200), True),
}


def others() -> dict[str, str]:
    """Return tokens that fail at the verification of the signature, each in another way."""
    forged = token({"alg": "HS256"}, claims(x="y" * 7000), hs256(b"somebody's"))
    of_ed = {"iss": ISSUER, "aud": "a", "sub": "alice", "exp": int(time.time()) + 3600}
    long = token(ED.header, of_ed | {"x": "y" * 7000}, lambda _: bytes(64))
    unknown = token(ED.header | {"kid": "made up"}, of_ed, ED.sign)
    cut = token(ED.header, of_ed, lambda _: b"")
    return {
        "a long forged token": forged,
        "a long forged token of an issuer": long,
        "a made-up key id": unknown,
        "no signature": cut,
    }


CORPUS = (
    {f"{name}, {size} bytes": raw(size) for name, raw in HEADERS.items() for size in (LIMIT, 10**6)}
    | TOKENS
    | {name: f"Bearer {text}" for name, text in others().items()}
)


@pytest.fixture(scope="module")
def verify() -> Iterator[Verify]:
    """Return the authorizer's handler, with an issuer of each kind whose keys are fetched."""
    with Jwks([ED.jwk]) as jwks:
        issuer = {"issuer": ISSUER, "audience": "a", "jwks_url": jwks.url, "algorithms": ["EdDSA"]}
        handler = authorizer(
            {"JWT_SECRET": SECRET, "JWT_ISSUER": "shared", "JWT_ISSUERS": json.dumps([issuer])}
        )

        def ask(authorization: str) -> Any:
            return handler({"identitySource": [authorization]}, Context())["context"]

        ask("Bearer " + others()["a made-up key id"])
        yield ask


def cpu(verify: Verify, authorization: str) -> float:
    """Return the least CPU time of several rounds, because other work can only add to it."""
    best = float("inf")
    for _ in range(9):
        started = time.process_time()
        for _ in range(20):
            verify(authorization)
        best = min(best, time.process_time() - started)
    return best


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_header_costs_little_more_than_a_good_token(verify: Verify, name: str) -> None:
    short, long = good(), good(x="y" * 7000)
    assert verify(short).keys() == verify(long).keys() == {"sub", "exp", "actor"}
    assert "refusal" in verify(CORPUS[name])
    hostile = cpu(verify, CORPUS[name])
    assert hostile < TIMES_A_LONG_ONE * cpu(verify, long)
    assert hostile < TIMES_A_SHORT_ONE * cpu(verify, short)


def test_the_corpus_reaches_the_limit(verify: Verify) -> None:
    assert verify("Bearer " + "a" * (LIMIT - 7)) == {"refusal": "The token is not valid"}
    short = {name for name, text in TOKENS.items() if not 0.9 * LIMIT < len(text) <= LIMIT}
    assert short == {"a number of 4,300 digits"}, "Python reads no longer number"
