"""Who is calling: verifies the token and says who, until when, or why not.

It authenticates and lets everybody through; the resolver in front of every handler authorizes,
because an HTTP API answers a denied token with 403 and clients sign in again on 401 only.
"""

from typing import Any

from settings import Settings
from tokens import InvalidToken, Verifier

_verifier = Verifier(Settings.from_environment())


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """An HTTP API's simple response; its context reaches the handlers."""
    try:
        caller = _verifier.verify(_authorization(event))
    except InvalidToken as error:
        return {"isAuthorized": True, "context": {"error": str(error)}}
    return {"isAuthorized": True, "context": {"sub": caller.sub, "exp": str(caller.exp)}}


def _authorization(event: dict[str, Any]) -> str:
    """The Authorization header: the identity source that the gateway's cache is keyed by."""
    source = event.get("identitySource")
    if not isinstance(source, list) or len(source) != 1 or not isinstance(source[0], str):
        raise InvalidToken("Send one Authorization header")
    return source[0]
