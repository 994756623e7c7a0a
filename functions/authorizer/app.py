"""Who is calling: verifies the token and says who, until when, or why not.

It authenticates and lets everybody through; the resolver in front of every handler authorizes,
because an HTTP API answers a denied token with 403 and clients sign in again on 401 only.
"""

import logging
from typing import Any

from rotation import RotatingVerifier
from tokens import TokenError

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

_verifier = RotatingVerifier()


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """An HTTP API's simple response; its context reaches the handlers and is cached by the gateway.

    Raises KeysUnavailableError while an issuer's keys have never been fetched: the gateway does
    not cache a failure, and its 500 tells nobody to sign in again for a token that may be good.
    """
    try:
        caller = _verifier.verify(_authorization(event))
    except TokenError as error:
        logger.info("refused a token: %s", error)
        return {"isAuthorized": True, "context": {"error": error.public}}
    return {"isAuthorized": True, "context": {"sub": caller.sub, "exp": str(caller.exp)}}


def _authorization(event: dict[str, Any]) -> str:
    """The Authorization header: the identity source that the gateway's cache is keyed by."""
    source = event.get("identitySource") if isinstance(event, dict) else None
    if not isinstance(source, list) or len(source) != 1 or not isinstance(source[0], str):
        raise TokenError("there is not one identity source", "Send one Authorization header")
    return source[0]
