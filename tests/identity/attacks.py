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


def der(w: World) -> str:
    """Return a token of ES256 whose signature is in DER."""

    def sign(data: bytes) -> bytes:
        raw = w.ec.sign(data)
        return encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))

    return token(w.ec.header, w.claims(BETTER), sign)


def cut_hs256(data: bytes) -> bytes:
    return hs256(SECRET.encode())(data)[:1]


def payload(raw: Callable[[str], str], encoding: str = "utf-8") -> Build:
    """Return a correctly signed token whose claims are a text made of the good claims."""
    return lambda w: token(w.ed.header, raw(json.dumps(w.claims())).encode(encoding), w.ed.sign)


def header(raw: bytes) -> Build:
    return lambda w: token(raw, w.claims(), w.ed.sign)


def signature(edit: Callable[[str], str]) -> Build:
    return lambda w: change(w.good(), 2, edit)


def with_claims(**changes: Any) -> Build:
    return lambda w: w.good(**changes)


def with_header(**changes: Any) -> Build:
    return lambda w: w.head(**changes)


def of_attacker(**header: Any) -> Build:
    return lambda w: token(w.attacker.header | header, w.claims(), w.attacker.sign)


def each(name: str, build: Callable[..., Build], why: str, *values: Any) -> dict[str, Row]:
    """Return one row for each value of one member of the claims or of the header."""
    return {f"{name} {value!r}": (build(**{name: value}), why) for value in values}


MALFORMED, UNDECODABLE = "it is no signed JWT", "it cannot be decoded"
ALGORITHM, KEY, SIGNATURE = "its algorithm is", "its key is", "its signature is"
HEADER, ISSUER, NO_TOKEN = "its header asks", "it names no issuer", "there is no bearer token"
AUDIENCE, SUBJECT, EXPIRED = "its audience is", "its sub is no user", "it has expired"
NO_NUMBER, NO_DATE = "its exp is no number", "its exp is no date"
MAY_NOT_SIGN = "its sub is not one that the issuer may sign for"

TOKENS: dict[str, Row] = {
    # Tokens that want no verification, or another one.
    "alg none, no signature": (
        lambda w: token({"alg": "none", "kid": w.ed.kid}, w.claims(), lambda _: b""),
        MALFORMED,
    ),
    **each("alg", with_header, ALGORITHM, ..., None, "none", "nOnE", "eddsa", "HS256", ["EdDSA"]),
    "HS256 with the PEM": (lambda w: w.shared(w.rsa.pem, AUTH0, kid=w.rsa.kid), ALGORITHM),
    "HS256 with the PEM, as the shared issuer": (lambda w: w.shared(w.rsa.pem), SIGNATURE),
    "HS256 with an empty secret": (lambda w: w.shared(b""), SIGNATURE),
    "HS256 by the shared secret, as Neon": (
        lambda w: w.shared(issuer=NEON, kid="eddsa"),
        ALGORITHM,
    ),
    # Tokens with a key of their own.
    "jwk of the attacker": (lambda w: of_attacker(jwk=w.attacker.jwk)(w), HEADER),
    "jwk of the issuer itself": (lambda w: w.head(jwk=w.ed.jwk), HEADER),
    **each("jku", of_attacker, HEADER, "http://127.0.0.1:1/jwks.json"),
    **each("x5u", of_attacker, HEADER, "https://evil.example/cert"),
    **each("x5c", of_attacker, HEADER, ["MIIB"]),
    **each("crit", of_attacker, HEADER, ["exp"]),
    **each("b64", of_attacker, HEADER, False),
    "the attacker's key under the issuer's kid": (of_attacker(), SIGNATURE),
    "kid of nobody": (of_attacker(kid="mine"), KEY),
    **each("kid", with_header, KEY, ..., "../../../../dev/null"),
    "kid a list": (with_header(kid=["eddsa"]), "its key id is no text"),
    "kid of a neighbour": (with_header(kid="rs256"), KEY),
    "typ of a logout token": (with_header(typ="logout+jwt"), "it is another kind"),
    # Signatures that are none.
    "signature missing": (lambda w: w.good().rpartition(".")[0], MALFORMED),
    "signature cut by a digit": (signature(lambda s: s[:-1]), UNDECODABLE),
    "signature of HS256 cut to a byte": (
        lambda w: token({"alg": "HS256"}, w.claims(SHARED), cut_hs256),
        SIGNATURE,
    ),
    "signature in other trailing bits": (signature(other_trailing_bits), UNDECODABLE),
    "signature in the plain alphabet": (signature(lambda s: "+/" + s[2:]), UNDECODABLE),
    "signature with a line break": (signature(lambda s: s[:-4] + "\n" + s[-4:]), UNDECODABLE),
    "signature of zeros, Ed25519": (signature(lambda _: b64(bytes(64))), SIGNATURE),
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
    "header twice": (header(b'{"alg":"EdDSA","kid":"eddsa","alg":"none"}'), UNDECODABLE),
    "header not JSON": (header(b"{"), UNDECODABLE),
    "header a list": (header(b"[]"), MALFORMED),
    "claims twice": (payload(lambda text: text[:-1] + ', "sub": "alice"}'), UNDECODABLE),
    "claims a list": (payload(lambda text: f"[{text}]"), MALFORMED),
    "claims nested without end": (payload(lambda _: "[" * 4000), UNDECODABLE),
    "claims with a long number": (payload(lambda _: '{"exp":' + "9" * 5000 + "}"), UNDECODABLE),
    "claims of 200 objects": (with_claims(x=[{}] * 200), "it has too many objects"),
    "claims in UTF-16": (payload(str, "utf-16"), UNDECODABLE),
    "claims with NaN": (with_claims(exp=float("nan")), UNDECODABLE),
    "20 KB": (with_claims(more="x" * 20_000), "it is too long"),
    # Claims that do not hold.
    **each("exp", with_claims, NO_NUMBER, ..., None, "4102444800", [4102444800], True),
    **each("exp", with_claims, NO_DATE, 4102444800000, -(10**30)),
    "exp infinite": (payload(lambda text: text.replace('"exp": ', '"exp": 1e999, "x": ')), NO_DATE),
    **each("exp", with_claims, EXPIRED, 0, -1),
    "exp now": (lambda w: w.good(exp=time.time()), EXPIRED),
    "nbf a text": (with_claims(nbf="now"), "its nbf is no number"),
    "iat a list": (with_claims(iat=[0]), "its iat is no number"),
    **each("sub", with_claims, SUBJECT, ..., None, "", ["alice"], 1, "alice\0", "\ud800"),
    **each("aud", with_claims, AUDIENCE, ..., None, [], "*", f"{NEON}/", NEON.upper(), BETTER),
    **each("aud", with_claims, AUDIENCE, [NEON, 1], {NEON: 1}),
    **each("iss", with_claims, ISSUER, ..., None, "*", f"{NEON}/", NEON.upper(), f"{NEON}\0"),
    **each("iss", with_claims, ISSUER, [NEON], "https://e.example"),
    "a user that its issuer may not sign for": (
        lambda w: w.shared(SMOKE_SECRET.encode(), SMOKE),
        MAY_NOT_SIGN,
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
