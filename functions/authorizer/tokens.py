"""Verifying a bearer token. The settings say how; a token only says which issuer it claims.

A token is read once, strictly, before anything is decided; nothing that was read counts before
the signature over it has been verified.
"""

from __future__ import annotations

import base64
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import strict_json
from jwt import PyJWS, PyJWTError
from keys import Keys, RemoteKeys, SharedSecret, UnknownKeyError
from settings import Issuer

_MAX_LENGTH = 10_240  # what the gateway takes of headers in all
_EARLY_SECONDS = 5  # an issuer's clock may be that much ahead of ours
_LAST_SECOND = 253_402_300_799  # of the year 9999; an `exp` in milliseconds lies beyond it
_CREDENTIALS = re.compile(r" *bearer +([^ ].*?) *", re.IGNORECASE | re.ASCII)  # RFC 9110, 11.4
_PARTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")  # RFC 7515, 3.1
_FOREIGN_KEYS = {"jwk", "jku", "x5u", "x5c"}
_TYPES = {"jwt", "at+jwt", "application/at+jwt"}  # RFC 8725, 3.11; RFC 9068, 2.1

_jws = PyJWS()


class TokenError(Exception):
    """The token is not accepted. `public` may be shown to whoever sent it, the text is for logs."""

    def __init__(self, reason: str, public: str = "The token is not valid") -> None:
        super().__init__(reason)
        self.public = public


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, and until when the token holds (seconds since the epoch, with leeway)."""

    sub: str
    exp: int


class Verifier:
    """Verifies the tokens of the given issuers, and of no others."""

    def __init__(
        self, issuers: Sequence[Issuer], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._trusted: dict[str | None, tuple[Issuer, Keys]] = {
            issuer.name: (issuer, self._keys(issuer)) for issuer in issuers
        }

    def _keys(self, issuer: Issuer) -> Keys:
        if issuer.secret:
            return SharedSecret(issuer.secret)
        return RemoteKeys(issuer.jwks_url, issuer.algorithms, clock=self._clock)

    def verify(self, authorization: str) -> Caller:
        """The caller that an `Authorization` header names. Raises TokenError.

        KeysUnavailableError when the issuer was never reached, so that the token may be good.
        """
        token = _credentials(authorization)
        header, claims = _read(token)
        issuer, keys = self._claimed(claims)
        self._check_signature(token, header, issuer, keys)
        return _caller(claims, issuer, self._clock())

    def _claimed(self, claims: dict[str, Any]) -> tuple[Issuer, Keys]:
        """The configured issuer of exactly that name, else the one that may have any name."""
        name = claims.get("iss")
        found = self._trusted.get(name) if isinstance(name, str) else None
        found = found or self._trusted.get(None)
        if found is None:
            raise TokenError("it names no issuer that is accepted")
        return found

    @staticmethod
    def _check_signature(token: str, header: dict[str, Any], issuer: Issuer, keys: Keys) -> None:
        """The issuer's algorithms limit the token's, and a key has but one: theirs has to meet."""
        _check_header(header)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
            raise TokenError("its algorithm is not the issuer's")
        try:
            key = keys.find(header.get("kid"), algorithm)
            _jws.decode_complete(token, key, algorithms=[algorithm])
        except UnknownKeyError as error:
            raise TokenError("its key is not the issuer's") from error
        except (PyJWTError, ValueError, TypeError) as error:
            raise TokenError("its signature is not the issuer's") from error


def _credentials(authorization: str) -> str:
    """The token in `Bearer <token>`, the scheme in any case (RFC 9110, 11.1)."""
    match = _CREDENTIALS.fullmatch(authorization)
    if match is None:
        scheme = "Send the token as: Authorization: Bearer <JWT>"
        raise TokenError("there is no bearer token", scheme)
    return match[1]


def _read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, not verified yet. Text that is no signed JWT raises TokenError."""
    match = _PARTS.fullmatch(token)
    if match is None or len(token) > _MAX_LENGTH:
        raise TokenError("it is no signed JWT")
    try:
        header, claims, _ = (_decoded(part) for part in match.groups())
        members = strict_json.parse(header), strict_json.parse(claims)
    except ValueError as error:
        raise TokenError("it cannot be decoded") from error
    if not all(isinstance(each, dict) for each in members):
        raise TokenError("it is no signed JWT")
    return members


def _decoded(part: str) -> bytes:
    """Base64url in its one canonical form, so that a token cannot be spelled in several ways."""
    raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise ValueError("it is not canonical base64url")
    return raw


def _check_header(header: dict[str, Any]) -> None:
    """No key of the token's own, no extension that has to be understood, and no other kind."""
    if _FOREIGN_KEYS & header.keys() or "crit" in header:
        raise TokenError("its header asks for another verification")
    if not isinstance(header.get("kid"), str | None):
        raise TokenError("its key id is no text")
    type_ = header.get("typ", "JWT")
    if not isinstance(type_, str) or type_.lower() not in _TYPES:
        raise TokenError("it is another kind of token")


def _caller(claims: dict[str, Any], issuer: Issuer, now: float) -> Caller:
    """Whom the verified claims name. Raises TokenError when they do not hold here and now."""
    _check_audience(claims.get(issuer.audience_claim), issuer)
    end = _seconds(claims, "exp") + issuer.leeway
    if not now < end:
        raise TokenError("it has expired", "The token has expired")
    for name in ("nbf", "iat"):
        if name in claims and _seconds(claims, name) > now + max(issuer.leeway, _EARLY_SECONDS):
            raise TokenError(f"its {name} is in the future", "The token is not valid yet")
    return Caller(_subject(claims), math.floor(end))


def _check_audience(value: object, issuer: Issuer) -> None:
    """One of the token's audiences is one of the issuer's, if it has any."""
    if not issuer.audiences:
        return
    audiences = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in audiences):
        raise TokenError("its audience is no text")
    if issuer.audiences.isdisjoint(audiences):
        raise TokenError("its audience is not accepted", "The token is for another audience")


def _seconds(claims: dict[str, Any], name: str) -> float:
    """A time claim in seconds since the epoch: a number, neither a text nor beyond all dates."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(f"its {name} is no number", f"The token's {name} is not a time")
    if not -_LAST_SECOND <= value <= _LAST_SECOND:
        raise TokenError(f"its {name} is no date", f"The token's {name} is not a time")
    return value


def _subject(claims: dict[str, Any]) -> str:
    """Any text that a path can hold; what owns no valid path the resolver tells (422, 403)."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject or "\x00" in subject or _is_broken(subject):
        raise TokenError("its sub is no user", "The token names no user")
    return subject


def _is_broken(text: str) -> bool:
    """Whether half a surrogate pair stands alone, which no encoding can carry."""
    return any("\ud800" <= character <= "\udfff" for character in text)
