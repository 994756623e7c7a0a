"""The caller's identity, as the gateway's authorizer found it, and their right to the path.

The gateway may have cached the authorizer's answer, so `exp` and `nbf` are checked here again.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from web.problems import ProblemError


class Caller(NamedTuple):
    """The user who calls, and the alias that logs have for them."""

    user_id: str
    actor: str


def caller(event: Mapping[str, Any]) -> Caller:
    """Return the caller. Raise a 401 ProblemError without a valid identity."""
    claims, actor = _claims(event)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject or "\x00" in subject:
        raise unauthorized("The token names no user" if claims else None)
    now = time.time()
    if not now < _seconds(claims.get("exp"), otherwise=-math.inf):
        raise unauthorized("The token has expired")
    if now < _seconds(claims.get("nbf", 0), otherwise=math.inf):
        raise unauthorized("The token is not valid yet")
    return Caller(subject, actor if isinstance(actor, str) else "unknown")


def require_owner(subject: str, user_id: str) -> None:
    """Let the caller act under their own path only. Raise a 403 ProblemError."""
    if not hmac.compare_digest(_bytes(subject), _bytes(user_id)):
        raise forbidden()


def forbidden() -> ProblemError:
    """Make the 403 for another user's path."""
    return ProblemError(403, "The token belongs to another user than the path")


def unauthorized(reason: str | None = None) -> ProblemError:
    """Make a 401 with the challenge of RFC 6750: a reason only when a token was sent.

    >>> unauthorized("The token has expired").headers["WWW-Authenticate"]
    'Bearer error="invalid_token", error_description="The token has expired"'
    """
    if reason is None:
        return ProblemError(401, "Send a token: Authorization: Bearer <JWT>", _challenge("Bearer"))
    safe = "".join(c for c in reason if " " <= c <= "~" and c not in '"\\')
    safe = safe or "The token is not valid"
    challenge = f'Bearer error="invalid_token", error_description="{safe}"'
    return ProblemError(401, safe, _challenge(challenge))


def _claims(event: Mapping[str, Any]) -> tuple[Mapping[str, Any], object]:
    """Return the claims of our authorizer (`lambda`) or the gateway's (`jwt`), and the alias.

    Raise a 401 ProblemError when ours refused the token. The claims of `jwt` are the token's own:
    a `refusal` among them refuses nothing, and an `actor` is no alias.
    """
    authorizer = _mapping(_mapping(event.get("requestContext")).get("authorizer"))
    if "lambda" not in authorizer:
        return _mapping(_mapping(authorizer.get("jwt")).get("claims")), None
    verdict = _mapping(authorizer["lambda"])
    if "refusal" in verdict:
        raise unauthorized(str(verdict["refusal"]))
    return verdict, verdict.get("actor")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _seconds(value: object, *, otherwise: float) -> float:
    """Return seconds since the epoch, or `otherwise` for a value that is no finite number."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return otherwise
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return otherwise
    return seconds if math.isfinite(seconds) else otherwise


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _challenge(value: str) -> dict[str, str]:
    return {"WWW-Authenticate": value}
