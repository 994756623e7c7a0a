"""Verify the token, and return its user and its end, or the reason of a refusal.

The authorizer authenticates and lets everybody through. Every handler authorizes, because an
HTTP API answers a denied token with 403 and clients sign in again on 401 only.
"""

import os
from typing import Any

from settings import from_environment
from tokens import TokenError, Verifier

from observability import LambdaContext, logger, observed

_verifier = Verifier(from_environment(os.environ))


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return an HTTP API's simple response. The gateway caches it and gives it to the handlers.

    Raise KeysUnavailableError while an issuer's keys have never been fetched: the gateway does
    not cache a failure, and its 500 tells nobody to sign in again for a token that may be good.
    """
    try:
        caller = _verifier.verify(_authorization(event))
    except TokenError as error:
        logger.info("refused a token: %s", error)
        return {"isAuthorized": True, "context": {"refusal": error.public}}
    actor = _verifier.actor(caller.sub)
    context = {"sub": caller.sub, "exp": str(caller.exp), "actor": actor}
    if caller.nbf is not None:
        context["nbf"] = str(caller.nbf)
    return {"isAuthorized": True, "context": context}


def _authorization(event: dict[str, Any]) -> str:
    """Return the Authorization header, which is the key of the gateway's cache."""
    source = event.get("identitySource") if isinstance(event, dict) else None
    if not isinstance(source, list) or len(source) != 1 or not isinstance(source[0], str):
        raise TokenError("there is not one identity source", "Send one Authorization header")
    return source[0]
