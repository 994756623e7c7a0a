"""Whose tokens are accepted, read from the environment; unsafe settings refuse to start.

NEON_AUTH_URL is the URL of Neon Auth, which says everything else about that issuer.

JWT_SECRET, JWT_ISSUER, JWT_AUDIENCE and JWT_SUBJECTS describe one issuer that shares a secret with
this API; JWT_PREVIOUS_SECRET is the secret it had before. JWT_SECRET_ID names the secret in Secrets
Manager instead. JWT_ISSUERS is a JSON list of issuers, each with `jwks_url` or `secret`, for all
other cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import strict_json

import http_client
import jwt_secret

_MAX_LEEWAY_SECONDS = 300
_SHARED = "HS256"
_ALGORITHMS = ("ES256", "EdDSA", _SHARED, "RS256")
_ANOTHER_NAME = {"Ed25519": "EdDSA"}  # RFC 9864


class SettingsError(Exception):
    """The settings are unsafe or mean nothing; the text names the one that has to change."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer: its name, its keys, and the claims that its tokens need.

    One of `secret`, `secret_id` and `jwks_url` is set. `issuer` is the exact `iss`, "" for any; no
    `audience` means any. Only an issuer with a secret may leave those open. With `subjects`, the
    issuer can name those users and no others. `leeway` is in seconds.
    """

    issuer: str = ""
    audience: frozenset[str] = frozenset()
    audience_claim: str = "aud"
    subjects: frozenset[str] = frozenset()
    algorithms: frozenset[str] = frozenset({_SHARED})
    leeway: float = 0
    jwks_url: str = ""
    secret_id: str = ""
    secret: str = field(default="", repr=False)
    previous_secret: str = field(default="", repr=False)


def from_environment(environment: Mapping[str, str]) -> list[Issuer]:
    """Return the accepted issuers, at least one. Raise SettingsError."""
    issuers = _listed(environment.get("JWT_ISSUERS", ""))
    if auth := environment.get("NEON_AUTH_URL", ""):
        issuers.append(_neon_auth(auth))
    given = {name: environment[name] for name in _VARIABLES if environment.get(name)}
    if given or not issuers:
        if "JWT_SECRET_ID" not in given:
            given.setdefault("JWT_SECRET", "")
        members: dict[str, Any] = {
            member: read(given[name], name)
            for name, (member, read) in _VARIABLES.items()
            if name in given
        }
        issuers.insert(0, Issuer(**members))
    names = [each.issuer for each in issuers]
    if "" in names and len(names) > 1:
        raise SettingsError("JWT_ISSUER has to name the secret's issuer beside other issuers")
    for name in names:  # each `iss` leads to one issuer, or a token could choose how it is verified
        if names.count(name) > 1:
            raise SettingsError(f"The issuer {name} may be there once, with one way to verify")
    return issuers


def _listed(text: str) -> list[Issuer]:
    if not text.strip():
        return []
    try:
        entries = strict_json.parse(text)
    except ValueError as error:
        raise SettingsError("JWT_ISSUERS is not a JSON list of issuers") from error
    if not isinstance(entries, list) or not entries:
        raise SettingsError("JWT_ISSUERS has to be a JSON list of one or more issuers")
    return [_entry(each, f"JWT_ISSUERS[{index}]") for index, each in enumerate(entries)]


def _neon_auth(url: str) -> Issuer:
    """Return the issuer of Neon Auth: its name is the origin, and its keys are below the path.

    Source: https://neon.com/docs/auth/guides/plugins/jwt

    >>> _neon_auth("https://ep-x.neonauth.aws.neon.tech/neondb/auth").issuer
    'https://ep-x.neonauth.aws.neon.tech'
    """
    parts = urlsplit(_url(url.strip().rstrip("/"), "NEON_AUTH_URL"))
    origin = f"{parts.scheme}://{parts.netloc}"
    jwks_url = f"{origin}{parts.path}/.well-known/jwks.json"
    return Issuer(origin, frozenset({origin}), algorithms=frozenset({"EdDSA"}), jwks_url=jwks_url)


def _entry(entry: object, where: str) -> Issuer:
    """Read one of JWT_ISSUERS. A secret has only one algorithm; a JWKS has no default."""
    if not isinstance(entry, dict):
        raise SettingsError(f"{where} has to be a JSON object")
    if unknown := sorted(entry.keys() - _MEMBERS):
        raise SettingsError(f"{where} has an unknown member: {unknown[0]}")
    shared = "secret" in entry
    needed = {"issuer": None, "algorithms": [_SHARED]} if shared else _NEEDED
    members = {
        name: _MEMBERS[name](value, f"{where}: {name}") for name, value in (needed | entry).items()
    }
    if shared is ("jwks_url" in entry) or shared is not (_SHARED in members["algorithms"]):
        raise SettingsError(
            f"{where} needs a secret with {_SHARED} or a jwks_url with other algorithms, not both"
        )
    return Issuer(**members)


def check_secret(value: object, where: str) -> str:
    """Return a secret that is fit to sign tokens. Raise SettingsError, which names `where`."""
    try:
        return jwt_secret.check(value)
    except jwt_secret.UnfitSecretError as error:
        raise SettingsError(f"{where} {error}") from error


def canonical(algorithm: Any) -> Any:
    """Return the older one of the two names that an algorithm of JOSE may have."""
    return _ANOTHER_NAME.get(algorithm, algorithm) if isinstance(algorithm, str) else algorithm


def _algorithms(named: object, where: str) -> frozenset[str]:
    if not isinstance(named, list) or not named:
        raise SettingsError(f"{where} has to list at least one")
    named = [canonical(each) for each in named]
    if not all(each in _ALGORITHMS for each in named):
        raise SettingsError(f"{where} may hold {', '.join(_ALGORITHMS)} and nothing else")
    if _SHARED in named and len(set(named)) > 1:
        raise SettingsError(f"{where} mixes {_SHARED} with public keys: a key could be the secret")
    return frozenset(named)


def _exact(value: object, where: str) -> str:
    """Read a text that is compared exactly, so that anything like a pattern is a mistake."""
    if not isinstance(value, str) or not value.strip() or value != value.strip():
        raise SettingsError(f"{where} has to be a text that is not empty, without blanks around it")
    if "*" in value:
        raise SettingsError(f"{where} is compared exactly and takes no wildcard")
    return value


def _texts(value: object, where: str) -> frozenset[str]:
    """Read one text or several. An empty list would mean any, so it is refused."""
    if value == []:
        raise SettingsError(f"{where} has to name at least one")
    return frozenset(
        _exact(each, where) for each in (value if isinstance(value, list) else [value])
    )


def _separated(text: str, where: str) -> frozenset[str]:
    """Read texts with commas between them; `*` alone says in so many words that any will do."""
    if text.strip() == "*":
        return frozenset()
    return _texts([each.strip() for each in text.split(",")], where)


def _url(value: object, where: str) -> str:
    url = _exact(value, where)
    try:
        http_client.check_url(url)
    except http_client.UnsafeURLError as error:
        raise SettingsError(f"{where} {error}") from error
    return url


def _leeway(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{where} has to be a number of seconds")
    if not 0 <= value <= _MAX_LEEWAY_SECONDS:
        raise SettingsError(f"{where} has to be 0 to {_MAX_LEEWAY_SECONDS} seconds")
    return float(value)


_VARIABLES: dict[str, tuple[str, Callable[[str, str], object]]] = {
    "JWT_SECRET_ID": ("secret_id", _exact),
    "JWT_SECRET": ("secret", check_secret),
    "JWT_PREVIOUS_SECRET": ("previous_secret", check_secret),
    "JWT_ISSUER": ("issuer", _exact),
    "JWT_AUDIENCE": ("audience", _texts),
    "JWT_SUBJECTS": ("subjects", _separated),
}
_MEMBERS: dict[str, Callable[[object, str], Any]] = {
    "issuer": _exact,
    "audience": _texts,
    "audience_claim": _exact,
    "subjects": _texts,
    "algorithms": _algorithms,
    "leeway": _leeway,
    "jwks_url": _url,
    "secret": check_secret,
}
_NEEDED = {"issuer": None, "audience": None, "algorithms": None}
