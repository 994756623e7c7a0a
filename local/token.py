"""`make token`: tokens for the local API."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any

import jwt

from local.errors import LocalError
from local.settings import HOST, Settings

_TWELVE_HOURS = 12 * 60 * 60
_RESPONSE_SECONDS = 5


def make_token(user: str, environ: Mapping[str, str]) -> str:
    """Return a token that JWT_SECRET signs, with JWT_ISSUER and JWT_AUDIENCE where they are set."""
    now = int(time.time())
    claims: dict[str, Any] = {"sub": user, "iat": now, "exp": now + _TWELVE_HOURS}
    for claim, variable in (("iss", "JWT_ISSUER"), ("aud", "JWT_AUDIENCE")):
        if environ.get(variable):
            claims[claim] = environ[variable]
    return jwt.encode(claims, environ["JWT_SECRET"], algorithm="HS256")


def token(settings: Settings, user: str = "") -> int:
    """Print a token, signed with JWT_SECRET if it is set, else by the running API if there is one.

    Without either, the secret that `make run` keeps signs it.
    """
    if not user:
        raise LocalError("Name the user that the token is for: make token USER=alice")
    made = make_token(user, settings.environ)
    print(made if os.environ.get("JWT_SECRET") else _from_running(settings.port, user) or made)
    return 0


def _from_running(port: int, user: str) -> str:
    """Return a token of the API on this port, or "" if none runs there."""
    connection = HTTPConnection(HOST, port, timeout=_RESPONSE_SECONDS)
    try:
        body = user.encode(errors="surrogateescape")
        connection.request("POST", "/local/token", body, {"Origin": f"http://{HOST}:{port}"})
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, HTTPException, ValueError):
        return ""
    finally:
        connection.close()
    return text if response.status == 200 else ""
