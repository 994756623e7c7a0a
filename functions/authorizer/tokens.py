"""Verify a bearer token. The settings say how; a token only says which issuer it claims.

Its length is checked first, and every step after that takes time in proportion to the length. A
token is read once, strictly, before anything is decided; nothing in it counts until the signature
over it has been verified.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import strict_json
from keys import Clock, Keys, UnknownKeyError, keys_of
from settings import Issuer, canonical

_MAX_LENGTH = 10_240  # what the gateway accepts for all headers together
_MAX_OBJECTS = 100  # reading an object costs more than reading its two bytes elsewhere
_EARLY_SECONDS = 5  # an issuer's clock may be that much ahead of ours
_LAST_SECOND = 253_402_300_799  # of the year 9999; an `exp` in milliseconds lies beyond it
_OTHER_WAYS = {"jwk", "jku", "x5u", "x5c", "crit", "b64"}  # to verify; RFC 7515, 4.1; RFC 7797
_TYPES = {"jwt", "at+jwt", "application/at+jwt"}  # RFC 8725, 3.11; RFC 9068, 2.1
_USER = re.compile("[^\\x00\\ud800-\\udfff]+")  # no encoding can carry half a surrogate pair


class TokenError(Exception):
    """The token is not accepted. The text is for logs; `public` may be shown to the sender."""

    def __init__(self, reason: str, public: str = "The token is not valid") -> None:
        super().__init__(reason)
        self.public = public


@dataclass(frozen=True, slots=True)
class Caller:
    """The user, and from when until when the token holds (seconds since the epoch).

    `nbf` is set for a token that does not hold yet; both times include the issuer's leeway.
    """

    sub: str
    exp: int
    nbf: int | None = None


class Verifier:
    """Verifies the tokens of the given issuers, and of no others."""

    def __init__(self, issuers: Sequence[Issuer], *, clock: Clock = time.time) -> None:
        self._clock = clock
        self._trusted = {each.issuer: (each, keys_of(each, clock)) for each in issuers}

    def verify(self, authorization: str) -> Caller:
        """Return the caller that an `Authorization` header names. Raise TokenError.

        Raise KeysUnavailableError while the issuer has never been reached: the token may be good.
        """
        token = _credentials(authorization)
        header, claims, signature = read(token)
        issuer, keys_of_issuer = self._claimed(claims)
        algorithm = _algorithm(header, issuer)
        try:
            keys = keys_of_issuer.find(header.get("kid"), algorithm)
        except UnknownKeyError as error:
            raise TokenError("its key is not the issuer's") from error
        message = token.rpartition(".")[0].encode()
        # PyJWT's `decode` would read the token a second time.
        if not any(key.Algorithm.verify(message, key.key, signature) for key in keys):
            raise TokenError("its signature is not the issuer's")
        return _caller(claims, issuer, self._clock())

    def actor(self, subject: str) -> str:
        """Return an alias of a user for logs, a keyed hash; every accepted issuer is in the key."""
        key = [
            (name, issuer.jwks_url, keys.secret) for name, (issuer, keys) in self._trusted.items()
        ]
        return hmac.digest(json.dumps(sorted(key)).encode(), subject.encode(), "sha256")[:8].hex()

    def _claimed(self, claims: dict[str, Any]) -> tuple[Issuer, Keys]:
        """Return the issuer of exactly that name, else the one that may have any name."""
        name = claims.get("iss")
        found = self._trusted.get(name) if isinstance(name, str) else None
        found = found or self._trusted.get("")
        if found is None:
            raise TokenError("it names no issuer that is accepted")
        return found


def _credentials(authorization: str) -> str:
    """Return the token of `Bearer <token>`, the scheme in any case (RFC 9110, 11.1 and 11.4)."""
    if len(authorization) > _MAX_LENGTH:
        raise TokenError("it is too long")
    scheme, _, token = authorization.strip(" ").partition(" ")
    if scheme.lower() != "bearer" or not token:
        public = "Send the token as: Authorization: Bearer <JWT>"
        raise TokenError("there is no bearer token", public)
    return token.lstrip(" ")


def read(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return header, claims and signature, not verified yet. Raise TokenError."""
    parts = token.split(".", 3)
    if len(parts) != 3 or not all(parts):
        raise TokenError("it is no signed JWT")
    try:
        raw_header, raw_claims, signature = map(_decoded, parts)
        if raw_header.count(b"{") + raw_claims.count(b"{") > _MAX_OBJECTS:
            raise TokenError("it has too many objects")
        header, claims = strict_json.parse(raw_header), strict_json.parse(raw_claims)
    except ValueError as error:
        raise TokenError("it cannot be decoded") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise TokenError("it is no signed JWT")
    return header, claims, signature


def _decoded(part: str) -> bytes:
    """Decode base64url in its one canonical form, so that a token has only one spelling."""
    raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise ValueError("it is not canonical base64url")
    return raw


def _algorithm(header: dict[str, Any], issuer: Issuer) -> str:
    """Return the algorithm of a header that the issuer may have written.

    Refuse a key of the token's own, an extension, another kind, another algorithm.
    """
    if _OTHER_WAYS & header.keys():
        raise TokenError("its header asks for another verification")
    if not isinstance(header.get("kid"), str | None):
        raise TokenError("its key id is no text")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise TokenError("it is another kind of token")
    algorithm = canonical(header.get("alg"))
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise TokenError("its algorithm is not the issuer's")
    return algorithm


def _caller(claims: dict[str, Any], issuer: Issuer, now: float) -> Caller:
    """Return whom the verified claims name. Raise TokenError when they do not hold.

    A token that does not hold yet is no error: the gateway would keep the refusal for longer than
    the reason lasts. The handlers compare `nbf` with the time of each request.
    """
    _check_audience(claims.get(issuer.audience_claim), issuer.audience)
    end = _seconds(claims, "exp") + issuer.leeway
    if not now < end:
        raise TokenError("it has expired", "The token has expired")
    starts = [_seconds(claims, name) for name in ("nbf", "iat") if name in claims]
    start = max(starts, default=now) - max(issuer.leeway, _EARLY_SECONDS)
    subject = _subject(claims, issuer)
    return Caller(subject, math.floor(end), math.ceil(start) if start > now else None)


def _check_audience(value: object, accepted: frozenset[str]) -> None:
    """Require that one of the token's audiences is one of those, if there are any."""
    audiences = value if isinstance(value, list) else [value]
    if not accepted:
        return
    if not all(isinstance(each, str) for each in audiences):
        raise TokenError("its audience is no text")
    if accepted.isdisjoint(audiences):
        raise TokenError("its audience is not accepted", "The token is for another audience")


def _seconds(claims: dict[str, Any], name: str) -> float:
    """Return a time claim in seconds since the epoch: a number, not a text, and a real date."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(f"its {name} is no number", f"The token's {name} is not a time")
    if not -_LAST_SECOND <= value <= _LAST_SECOND:
        raise TokenError(f"its {name} is no date", f"The token's {name} is not a time")
    return value


def _subject(claims: dict[str, Any], issuer: Issuer) -> str:
    """Return the user: any text that a path can hold, if the issuer may sign for it."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _USER.fullmatch(subject):
        raise TokenError("its sub is no user", "The token names no user")
    if issuer.subjects and subject not in issuer.subjects:
        raise TokenError("its sub is not one that the issuer may sign for")
    return subject
