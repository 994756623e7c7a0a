"""Smoke's own identity: a token that lives for minutes, signed here with the API's secret (HS256).

Where tokens come from an issuer with a JWKS, the secret beside it is Smoke's alone
(docs/deploying.md).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Mapping

USER = "task-api-smoke"
_LIFE_SECONDS = 300


def secret(environment: Mapping[str, str] = os.environ) -> str:
    """`JWT_SECRET`, or the current text of the secret that `JWT_SECRET_ID` names.

    Raises what `get_secret` does, and KeyError when neither is set.
    """
    if given := environment.get("JWT_SECRET"):
        return given
    from secrets_manager import get_secret  # only where a secret is named

    return get_secret(environment["JWT_SECRET_ID"])


def token(key: str, environment: Mapping[str, str] = os.environ) -> str:
    """A token for `USER`, with the issuer and audience that the API accepts."""
    now = int(time.time())
    claims = {"sub": USER, "iat": now, "exp": now + _LIFE_SECONDS}
    for name, variable in (("iss", "JWT_ISSUER"), ("aud", "JWT_AUDIENCE")):
        if environment.get(variable):
            claims |= {name: environment[variable]}
    text = f"{_encoded(_json({'alg': 'HS256', 'typ': 'JWT'}))}.{_encoded(_json(claims))}"
    return f"{text}.{_encoded(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest())}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
