"""The table of attacks: each row is a good token with one thing wrong, and why it is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.identity.harness import SECRET, Gateway
from tests.identity.issuers import Key, b64, hs256, token

NEON = "https://ep-cool-1.neonauth.eu-central-1.aws.neon.tech"
AUTH0 = "https://tenant.eu.auth0.com/"
BETTER = "http://localhost:3000"
SHARED = "https://shared.example"
SMOKE = "https://smoke.example"  # may sign for one user
SMOKE_SECRET = "a-secret-of-smoke-with-more-than-32-bytes"
API = "https://api.example"


Build = Callable[["World"], str]
Row = tuple[Build, str]


@dataclass
class World:
    """Five accepted issuers, an attacker with keys of their own, and the gateway."""

    ed: Key
    rsa: Key
    ec: Key
    attacker: Key
    gateway: Gateway

    def claims(self, issuer: str = NEON, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        audience = {NEON: NEON, BETTER: BETTER}.get(issuer, API)
        good = {"iss": issuer, "aud": audience, "sub": "alice", "iat": now, "exp": now + 600}
        return {name: value for name, value in (good | changes).items() if value is not ...}

    def good(self, key: Key | None = None, **changes: Any) -> str:
        """Return a token of the key's issuer with some claims changed; `...` leaves a claim out."""
        key = key or self.ed
        issuer = {id(self.ed): NEON, id(self.rsa): AUTH0, id(self.ec): BETTER}[id(key)]
        return token(key.header, self.claims(issuer, **changes), key.sign)

    def head(self, key: Key | None = None, **changes: Any) -> str:
        """Return a correctly signed token with some members of its header changed."""
        key = key or self.ed
        header = {name: value for name, value in (key.header | changes).items() if value is not ...}
        return token(header, self.claims(), key.sign)

    def shared(self, secret: bytes = SECRET.encode(), issuer: str = SHARED, **header: Any) -> str:
        return token({"alg": "HS256", **header}, self.claims(issuer), hs256(secret))


def change(text: str, part: int, edit: Callable[[str], str]) -> str:
    """Return the token with one of its three parts edited."""
    parts = text.split(".")
    parts[part] = edit(parts[part])
    return ".".join(parts)


def other_trailing_bits(part: str) -> str:
    """Return another spelling of the same bytes: four bits of the last digit have no meaning."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return part[:-1] + digits[digits.index(part[-1]) | 1]


def unsigned(algorithm: object, signature: str = "x") -> Build:
    def build(w: World) -> str:
        text = token({"alg": algorithm, "kid": w.ed.kid}, w.claims(), lambda _: b"")
        return text + b64(signature.encode())

    return build


def der(w: World) -> str:
    def sign(data: bytes) -> bytes:
        raw = w.ec.sign(data)
        return encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))

    return token(w.ec.header, w.claims(BETTER), sign)


def payload(raw: Callable[[str], str]) -> Build:
    """Return a correctly signed token whose claims are a text made of the good claims."""
    return lambda w: token(w.ed.header, raw(json.dumps(w.claims())).encode(), w.ed.sign)


def with_claims(**changes: Any) -> Build:
    return lambda w: w.good(**changes)


def with_header(**changes: Any) -> Build:
    return lambda w: w.head(**changes)


def of_attacker(**header: Any) -> Build:
    return lambda w: token(w.attacker.header | header, w.claims(), w.attacker.sign)


MALFORMED, UNDECODABLE = "it is no signed JWT", "it cannot be decoded"
ALGORITHM, KEY, SIGNATURE = "its algorithm is", "its key is", "its signature is"
HEADER, ISSUER, NO_TOKEN = "its header asks", "it names no issuer", "there is no bearer token"
AUDIENCE, SUBJECT, EXPIRED = "its audience is", "its sub is no user", "it has expired"

TOKENS: dict[str, Row] = {
    # Tokens that want no verification, or another one.
    "alg none, no signature": (lambda w: unsigned("none", "")(w), MALFORMED),
    **{f"alg {name!r}": (unsigned(name), ALGORITHM) for name in ("none", "nOnE", None, ["none"])},
    "alg missing": (with_header(alg=...), ALGORITHM),
    **{
        f"alg {name!r} over a good signature": (with_header(alg=name), ALGORITHM)
        for name in ("none", "eddsa", "HS256", "RS256", ["EdDSA"])
    },
    "HS256 with the RSA key's PEM": (
        lambda w: w.shared(w.rsa.pem, AUTH0, kid=w.rsa.kid),
        ALGORITHM,
    ),
    "HS256 with the PEM, as the shared issuer": (lambda w: w.shared(w.rsa.pem), SIGNATURE),
    "HS256 with an empty secret": (lambda w: w.shared(b""), SIGNATURE),
    "HS256 by the shared secret, as Neon": (
        lambda w: w.shared(issuer=NEON, kid="eddsa"),
        ALGORITHM,
    ),
    # Tokens with a key of their own.
    "jwk of the attacker": (lambda w: of_attacker(jwk=w.attacker.jwk)(w), HEADER),
    "jwk of the issuer itself": (lambda w: w.head(jwk=w.ed.jwk), HEADER),
    **{
        f"{name} in the header": (of_attacker(**{name: value}), HEADER)
        for name, value in {
            "jku": "http://127.0.0.1:1/jwks.json",
            "x5u": "https://evil.example/cert",
            "x5c": ["MIIB"],
            "crit": ["exp"],
            "b64": False,
        }.items()
    },
    "the attacker's key under the issuer's kid": (of_attacker(), SIGNATURE),
    "kid of nobody": (of_attacker(kid="mine"), KEY),
    "kid missing": (with_header(kid=...), KEY),
    "kid as a path": (with_header(kid="../../../../dev/null"), KEY),
    "kid a list": (with_header(kid=["eddsa"]), "its key id is no text"),
    "kid of a neighbour": (
        lambda w: token(w.rsa.header | {"alg": "EdDSA"}, w.claims(), w.ed.sign),
        KEY,
    ),
    "typ of a logout token": (with_header(typ="logout+jwt"), "it is another kind"),
    # Signatures that are none.
    "signature missing": (lambda w: w.good().rpartition(".")[0], MALFORMED),
    "signature cut by a digit": (lambda w: change(w.good(), 2, lambda s: s[:-1]), UNDECODABLE),
    "signature of HS256 cut to a byte": (
        lambda w: token(
            {"alg": "HS256"}, w.claims(SHARED), lambda d: hs256(SECRET.encode())(d)[:1]
        ),
        SIGNATURE,
    ),
    "signature in other trailing bits": (
        lambda w: change(w.good(), 2, other_trailing_bits),
        UNDECODABLE,
    ),
    "signature in the plain alphabet": (
        lambda w: change(w.good(), 2, lambda s: "+/" + s[2:]),
        UNDECODABLE,
    ),
    "signature with a line break": (lambda w: w.good()[:-4] + "\n" + w.good()[-4:], UNDECODABLE),
    "signature of zeros, Ed25519": (
        lambda w: change(w.good(), 2, lambda _: b64(bytes(64))),
        SIGNATURE,
    ),
    "signature of zeros, ES256": (
        lambda w: token(w.ec.header, w.claims(BETTER), lambda _: bytes(64)),
        SIGNATURE,
    ),
    "signature in DER, ES256": (der, SIGNATURE),
    "signature of another token": (
        lambda w: change(w.good(), 2, lambda _: w.good(sub="bob").split(".")[2]),
        SIGNATURE,
    ),
    # Texts that are no token, or two.
    "one part": (lambda _: "alice", MALFORMED),
    "four parts": (lambda w: w.good() + ".x", MALFORMED),
    "claims twice, the last of the attacker": (
        payload(lambda text: text[:-1] + ', "sub": "alice"}'),
        UNDECODABLE,
    ),
    "header twice": (
        lambda w: token(b'{"alg":"EdDSA","kid":"eddsa","alg":"none"}', w.claims(), w.ed.sign),
        UNDECODABLE,
    ),
    "header not JSON": (lambda w: token(b"{", w.claims(), w.ed.sign), UNDECODABLE),
    "header a list": (lambda w: token(b"[]", w.claims(), w.ed.sign), MALFORMED),
    "claims a list": (payload(lambda text: f"[{text}]"), MALFORMED),
    "claims nested without end": (payload(lambda _: "[" * 4000), UNDECODABLE),
    "claims with a number of 5,000 digits": (
        payload(lambda _: '{"exp":' + "9" * 5000 + "}"),
        UNDECODABLE,
    ),
    "claims of 200 objects": (with_claims(x=[{}] * 200), "it has too many objects"),
    "claims in UTF-16": (
        lambda w: token(w.ed.header, json.dumps(w.claims()).encode("utf-16"), w.ed.sign),
        UNDECODABLE,
    ),
    "claims with NaN": (with_claims(exp=float("nan")), UNDECODABLE),
    "20 KB": (with_claims(more="x" * 20_000), "it is too long"),
    # Claims that do not hold.
    **{
        f"exp {value!r}": (with_claims(exp=value), "its exp is no number")
        for value in (..., None, "4102444800", [4102444800], True)
    },
    **{
        f"exp {value!r}": (with_claims(exp=value), "its exp is no date")
        for value in (4102444800000, 1e300, -(10**30))
    },
    "exp infinite": (
        payload(lambda text: text.replace('"exp": ', '"exp": 1e999, "x": ')),
        "its exp is no date",
    ),
    **{f"exp {value!r}": (with_claims(exp=value), EXPIRED) for value in (0, -1)},
    "exp now": (lambda w: w.good(exp=time.time()), EXPIRED),
    "nbf a text": (with_claims(nbf="now"), "its nbf is no number"),
    "iat a list": (with_claims(iat=[0]), "its iat is no number"),
    **{
        f"sub {value!r}": (with_claims(sub=value), SUBJECT)
        for value in (..., None, "", ["alice"], 1, "alice\0", "\ud800")
    },
    **{
        f"aud {value!r}": (with_claims(aud=value), AUDIENCE)
        for value in (..., None, [], "*", f"{NEON}/", NEON.upper(), BETTER, [NEON, 1], {NEON: 1})
    },
    **{
        f"iss {value!r}": (with_claims(iss=value), ISSUER)
        for value in (
            ...,
            None,
            "*",
            f"{NEON}/",
            NEON.upper(),
            f"{NEON}\0",
            [NEON],
            "https://e.example",
        )
    },
    "a user that its issuer may not sign for": (
        lambda w: w.shared(SMOKE_SECRET.encode(), SMOKE),
        "its sub is not one that the issuer may sign for",
    ),
    "a neighbour's key": (lambda w: token(w.rsa.header, w.claims(NEON), w.rsa.sign), ALGORITHM),
}

HEADERS: dict[str, Row] = {
    "blanks": (lambda _: "   ", NO_TOKEN),
    "scheme and blanks": (lambda _: "Bearer   ", NO_TOKEN),
    "token alone": (lambda w: w.good(), NO_TOKEN),
    "Basic": (lambda _: "Basic YWxpY2U6c2VjcmV0", NO_TOKEN),
    "tab": (lambda w: f"Bearer\t{w.good()}", NO_TOKEN),
    "no-break space": (lambda w: f"Bearer\u00a0{w.good()}", NO_TOKEN),
    "quotes": (lambda w: f'Bearer "{w.good()}"', UNDECODABLE),
    "two headers, joined": (lambda w: f"Bearer {w.good()},Bearer {w.good()}", MALFORMED),
    "two headers, the good one last": (lambda w: f"Bearer x, Bearer {w.good()}", UNDECODABLE),
    "two tokens": (lambda w: f"Bearer {w.good()} {w.good(sub='bob')}", MALFORMED),
}


def _as_bearer(build: Build) -> Build:
    return lambda world: f"Bearer {build(world)}"


ATTACKS = {name: (_as_bearer(build), why) for name, (build, why) in TOKENS.items()}
ATTACKS |= {f"header: {name}": row for name, row in HEADERS.items()}
