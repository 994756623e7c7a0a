"""`python -m local.token alice`: a token for the local API, on stdout, and nothing else.

It is signed with JWT_SECRET, or else with the secret of the API that runs, or else with the one
that `make run` keeps. JWT_ISSUER and JWT_AUDIENCE become its iss and aud when they are set here or
there; EXPIRES_IN is its life in seconds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt

from local.errors import LocalError
from local.settings import read_settings
from local.started import started

_TWELVE_HOURS = 12 * 60 * 60


def make_token(user: str, environ: Mapping[str, str]) -> str:
    """Return a token for `user`; raises LocalError when EXPIRES_IN is not a whole number."""
    now = int(time.time())
    try:
        life = int(environ.get("EXPIRES_IN") or _TWELVE_HOURS)
    except ValueError:
        raise LocalError("EXPIRES_IN has to be a whole number of seconds.") from None
    claims: dict[str, Any] = {"sub": user, "iat": now, "exp": now + life}
    for claim, variable in (("iss", "JWT_ISSUER"), ("aud", "JWT_AUDIENCE")):
        if environ.get(variable):
            claims[claim] = environ[variable]
    return jwt.encode(claims, environ["JWT_SECRET"], algorithm="HS256")


def main() -> None:
    """Print a token for the user that the command line names."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("Name the user that the token is for: make token USER=alice")
    try:
        settings = read_settings(Path.cwd(), os.environ)
        given = settings.environ if os.environ.get("JWT_SECRET") else started(settings)
        print(make_token(sys.argv[1], {**settings.environ, **given}))
    except LocalError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
