"""What the user can set: PORT, DATABASE_URL, JWT_SECRET, CONCURRENCY, DEBUG, DEBUG_PORT.

Every parameter of template.yaml is set in the same way, by an environment variable of its name in
upper case with underscores (`CorsOrigins` by CORS_ORIGINS); the template's own rules say which
values are good.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalError

HOST = "127.0.0.1"
_SECRET_BYTES = 32  # RFC 7518, section 3.2: a key of the hash's size or larger
_DISTINCT_CHARACTERS = 8  # what the authorizer asks for


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run. `environ` has what template parameters are taken from."""

    root: Path
    port: int
    concurrency: int
    database_url: str | None
    debug: str | None
    debug_port: int
    environ: Mapping[str, str]

    @property
    def state(self) -> Path:
        """The folder for everything that is kept on this machine."""
        return self.root / ".local"

    @property
    def template(self) -> Path:
        """The template to serve."""
        return self.root / "template.yaml"


def read_settings(root: Path, environ: Mapping[str, str]) -> Settings:
    """Read all settings; make the folder of the state, and the JWT secret when there is none.

    Raises LocalError with a sentence that names the variable whose value is not usable. An empty
    value counts as not given, because that is what `make VARIABLE=` passes on.
    """
    if not (root / "template.yaml").exists():
        raise LocalError(f"There is no template.yaml in {root}.")
    (root / ".local").mkdir(exist_ok=True)
    given = {name: value for name, value in environ.items() if value}
    for name in ("JWT_SECRET", "JWT_PREVIOUS_SECRET"):
        if name in given:
            _check_secret(given[name], name)
    if "JWT_SECRET" not in given:
        kept = root / ".local" / "jwt_secret"
        given["JWT_SECRET"] = _kept_secret(kept)
        _check_secret(given["JWT_SECRET"], str(kept))
    return Settings(
        root=root,
        port=_number(given, "PORT", default=8000, least=0, most=65535),
        concurrency=_number(given, "CONCURRENCY", default=10, least=1, most=1000),
        database_url=given.get("DATABASE_URL"),
        debug=given.get("DEBUG"),
        debug_port=_number(given, "DEBUG_PORT", default=5890, least=1, most=65535),
        environ=given,
    )


def private(path: str, flags: int) -> int:
    """Open a file that only this user can read: an `opener` for `open`."""
    return os.open(path, flags, 0o600)


def _number(given: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise LocalError(f"{name} has to be a whole number from {least} to {most}.")
    return int(text)


def _check_secret(secret: str, source: str) -> None:
    """Refuse what the authorizer would refuse on every request; raises LocalError."""
    if len(secret.encode(errors="surrogateescape")) < _SECRET_BYTES:
        raise LocalError(f"{source} is shorter than {_SECRET_BYTES} bytes.")
    if len(set(secret)) < _DISTINCT_CHARACTERS:
        raise LocalError(
            f"{source} has to be random: it has fewer than {_DISTINCT_CHARACTERS} different"
            " characters."
        )


def _kept_secret(path: Path) -> str:
    """Return the secret of earlier runs, so that tokens outlive a restart; or make one."""
    with open(path, "a+", opener=private) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # of two first runs, the second waits for the secret
        file.seek(0)
        kept = file.read().strip()
        if not kept:
            kept = secrets.token_urlsafe(48)
            file.write(kept)
    return kept
