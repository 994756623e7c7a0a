"""Verifying a bearer token. The settings name the algorithm; the token's header never does."""

import math
from dataclasses import dataclass
from typing import Any

import jwt
from settings import Settings

_ALGORITHM = "HS256"
_LEEWAY_SECONDS = 0


class InvalidToken(Exception):
    """The token is not accepted; the text may be shown to whoever sent it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, and until when the token says so (seconds since the epoch)."""

    sub: str
    exp: int


class Verifier:
    """Verifies tokens by one set of settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def verify(self, authorization: str) -> Caller:
        """The caller that an `Authorization` header names. Raises InvalidToken."""
        claims = self._claims(_bearer(authorization))
        return Caller(_subject(claims), _expiry(claims))

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._settings.secret,
                algorithms=[_ALGORITHM],
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=_LEEWAY_SECONDS,
                options={
                    "require": ["exp", "sub"],
                    "verify_aud": self._settings.audience is not None,
                },
            )
        except jwt.ExpiredSignatureError as error:
            raise InvalidToken("The token has expired") from error
        # Deep nesting and numbers of many digits make the JSON parser itself give up.
        except (jwt.InvalidTokenError, RecursionError, ValueError) as error:
            raise InvalidToken("The token is not valid") from error


def _bearer(authorization: str) -> str:
    """The token in `Bearer <token>`; the scheme's case does not matter (RFC 9110, 11.1)."""
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidToken("Send the token as: Authorization: Bearer <JWT>")
    return token.strip()


def _subject(claims: dict[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not subject:
        raise InvalidToken("The token names no user")
    return subject


def _expiry(claims: dict[str, Any]) -> int:
    """Whole seconds, rounded down; PyJWT has already refused an `exp` in the past."""
    expiry = claims["exp"]
    if isinstance(expiry, bool) or not isinstance(expiry, (int, float)) or not math.isfinite(expiry):
        raise InvalidToken("The token's exp is not a time")
    return math.floor(expiry)
