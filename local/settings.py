"""The settings of a user: PORT, DATABASE_URL, JWT_SECRET, CONCURRENCY.

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
from difflib import get_close_matches
from pathlib import Path

from deploy.template import parse, variable_name
from local.errors import LocalError

HOST = "127.0.0.1"
# Settings that are no parameters of the template.
_NAMES = {
    *("PORT", "CONCURRENCY", "USER", "YES", "F", "E", "JWT_PREVIOUS_SECRET", "PYTHON"),
    "SAM_OPTIONS",
}
_CLOSE = 0.9  # CORS_ORIGIN is as close to CORS_ORIGINS


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run. `environ` sets the template's parameters."""

    root: Path
    port: int
    concurrency: int
    database_url: str | None
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

    Raise LocalError with a sentence that names the variable whose value is not usable. An empty
    value counts as not given, because that is what `make VARIABLE=` passes on.
    """
    if not (root / "template.yaml").exists():
        raise LocalError(f"There is no template.yaml in {root}.")
    (root / ".local").mkdir(exist_ok=True)
    given = {name: value for name, value in environ.items() if value}
    if "JWT_SECRET" not in given:
        given["JWT_SECRET"] = _kept_secret(root / ".local" / "jwt_secret")
        # Beside others, the issuer of this secret has to have a name.
        if given.keys() & {"JWT_ISSUERS", "NEON_AUTH_URL"}:
            given.setdefault("JWT_ISSUER", "make-run")
    return Settings(
        root=root,
        port=_number(given, "PORT", default=8000, least=0, most=65535),
        concurrency=_number(given, "CONCURRENCY", default=10, least=1, most=1000),
        database_url=given.get("DATABASE_URL"),
        environ=given,
    )


def near_misses(settings: Settings, *names: str) -> list[str]:
    """Return a sentence for each variable whose name is almost that of a setting or of `names`.

    Raise LocalError for any other name on make's command line, which the Makefile passes in GIVEN.
    """
    parameters = parse(settings.template).get("Parameters", {})
    known = {*_NAMES, *names, *map(variable_name, parameters)}
    for name in settings.environ.get("GIVEN", "").split():
        if name not in known:
            close = get_close_matches(name, known, 1) or ["one that `make` lists"]
            raise LocalError(f"{name} is no setting: did you mean {close[0]}?")
    return [
        f"{name} is set and is no setting: did you mean {close[0]}?"
        for name in settings.environ.keys() - known
        if (close := get_close_matches(name, known, 1, _CLOSE))
    ]


def in_force(settings: Settings) -> list[str]:
    """Return the parameters that differ from their defaults, without the values of secrets."""
    found = []
    for name, definition in parse(settings.template).get("Parameters", {}).items():
        variable = variable_name(name)
        value = os.environ.get(variable)
        if value and value != str(definition.get("Default")):
            is_secret = definition.get("NoEcho") or name == "JwtIssuers"
            found.append(f"{variable} is set" if is_secret else f"{variable}={value}")
    return sorted(found)


def private(path: str, flags: int) -> int:
    """Open a file that only this user can read: an `opener` for `open`."""
    return os.open(path, flags, 0o600)


def _number(given: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise LocalError(f"{name} has to be a whole number from {least} to {most}.")
    return int(text)


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
