"""Tokens for the API that runs, and how `make token` learns of that API.

A started API writes the settings of its tokens into a file of its user alone, and holds a lock on
the file as long as it runs: the file of one that was killed is recognised by the missing lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jwt

from local.errors import LocalError
from local.settings import Settings, private

_TOLD = ("JWT_SECRET", "JWT_ISSUER", "JWT_AUDIENCE")
_TWELVE_HOURS = 12 * 60 * 60


def make_token(user: str, environ: Mapping[str, str]) -> str:
    """Return a token that JWT_SECRET signs, with JWT_ISSUER and JWT_AUDIENCE where they are set.

    EXPIRES_IN is its life in seconds; raises LocalError when that is not a whole number.
    """
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


def token(settings: Settings, user: str = "") -> int:
    """Print a token: for JWT_SECRET if it is given, else for the API that runs, if one does."""
    if not user:
        raise LocalError("Name the user that the token is for: make token USER=alice")
    told = {} if os.environ.get("JWT_SECRET") else _told_by_running(settings)
    print(make_token(user, {**settings.environ, **told}))
    return 0


@contextlib.contextmanager
def announced(settings: Settings, port: int) -> Iterator[None]:
    """Tell `make token` of the API on this port until the end of the block."""
    path = settings.state / "running" / f"{port}.json"
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", opener=private) as file:
        json.dump(
            {name: settings.environ[name] for name in _TOLD if name in settings.environ}, file
        )
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _told_by_running(settings: Settings) -> Mapping[str, str]:
    """Return what the API told that was started last, on PORT if that is given; {} without one."""
    chosen = f"{settings.port}.json" if "PORT" in settings.environ else "*.json"
    found: list[tuple[int, dict[str, str]]] = []
    for path in (settings.state / "running").glob(chosen):
        with contextlib.suppress(FileNotFoundError), path.open() as file:  # it may end right now
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append((os.fstat(file.fileno()).st_mtime_ns, json.load(file)))
    return max(found, key=lambda each: each[0])[1] if found else {}
