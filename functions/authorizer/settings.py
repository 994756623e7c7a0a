"""Whose tokens are accepted, from the environment; what would be unsafe refuses to start.

JWT_SECRET, JWT_ISSUER and JWT_AUDIENCE describe one issuer that shares a secret with this API.
JWT_ISSUERS is a JSON list of issuers, each with `jwks_url` or `secret`, for all other cases.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import strict_json

_SECRET_BYTES = 32  # RFC 7518, section 3.2: as long as HS256's hash
_MAX_LEEWAY_SECONDS = 300
_SHARED = "HS256"
_PUBLIC = frozenset({"EdDSA", "ES256", "RS256"})
_URL = re.compile(r"[!-~]+")  # visible ASCII: nothing that could end a line of the request
_MEMBERS = frozenset(
    {"issuer", "audience", "audience_claim", "jwks_url", "secret", "algorithms", "leeway"}
)


class SettingsError(Exception):
    """The settings are unsafe or have no meaning; the text names the one that has to change."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whoever signs tokens: how they are verified, and what they have to say.

    Either `secret` or `jwks_url` is set. `name` is the exact `iss`, None for any; no `audiences`
    means any. Only an issuer with a secret may leave those open. `leeway` is in seconds.
    """

    name: str | None
    audiences: frozenset[str]
    algorithms: frozenset[str]
    secret: str = field(default="", repr=False)
    jwks_url: str = ""
    audience_claim: str = "aud"
    leeway: float = 0


def from_environment(environment: Mapping[str, str] = os.environ) -> list[Issuer]:
    """The accepted issuers, at least one. Raises SettingsError."""
    listed = _listed(environment.get("JWT_ISSUERS", ""))
    if listed and not any(map(environment.get, ("JWT_SECRET", "JWT_ISSUER", "JWT_AUDIENCE"))):
        issuers = listed
    else:
        issuers = [_of_secret(environment), *listed]
    _check_together(issuers)
    return issuers


def _of_secret(environment: Mapping[str, str]) -> Issuer:
    name = environment.get("JWT_ISSUER") or None
    audience = environment.get("JWT_AUDIENCE")
    return Issuer(
        name if name is None else _exact(name, "JWT_ISSUER"),
        frozenset({_exact(audience, "JWT_AUDIENCE")} if audience else ()),
        frozenset({_SHARED}),
        secret=_secret(environment.get("JWT_SECRET", ""), "JWT_SECRET"),
    )


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


def _entry(entry: object, where: str) -> Issuer:
    if not isinstance(entry, dict):
        raise SettingsError(f"{where} has to be a JSON object")
    if unknown := sorted(entry.keys() - _MEMBERS):
        raise SettingsError(f"{where} has an unknown member: {unknown[0]}")
    shared = "secret" in entry
    algorithms = _algorithms(entry, where)
    if shared is ("jwks_url" in entry) or shared is not (_SHARED in algorithms):
        raise SettingsError(
            f"{where} needs a secret with {_SHARED} or a jwks_url with other algorithms, not both"
        )
    return Issuer(
        _exact(entry.get("issuer"), f"{where}: issuer"),
        _audiences(entry, f"{where}: audience")
        if not shared or "audience" in entry
        else frozenset(),
        algorithms,
        secret=_secret(entry["secret"], f"{where}: secret") if shared else "",
        jwks_url="" if shared else _url(entry["jwks_url"], f"{where}: jwks_url"),
        audience_claim=_exact(entry.get("audience_claim", "aud"), f"{where}: audience_claim"),
        leeway=_leeway(entry.get("leeway", 0), f"{where}: leeway"),
    )


def _algorithms(entry: dict[str, Any], where: str) -> frozenset[str]:
    """Those that are named: a secret has only one, a JWKS has no default."""
    named = entry.get("algorithms", [_SHARED] if "secret" in entry else None)
    if not isinstance(named, list) or not named:
        raise SettingsError(f"{where}: algorithms has to list at least one")
    for algorithm in named:
        if algorithm != _SHARED and (not isinstance(algorithm, str) or algorithm not in _PUBLIC):
            known = ", ".join(sorted({_SHARED, *_PUBLIC}))
            raise SettingsError(f"{where}: algorithms may hold {known} and nothing else")
    if _SHARED in named and len(set(named)) > 1:
        raise SettingsError(f"{where} mixes {_SHARED} with public keys: a key could be the secret")
    return frozenset(named)


def _audiences(entry: dict[str, Any], where: str) -> frozenset[str]:
    """One or several, never none: any audience would be that of every other API as well."""
    value = entry.get("audience")
    if value == []:
        raise SettingsError(f"{where} has to name at least one")
    return frozenset(
        _exact(each, where) for each in (value if isinstance(value, list) else [value])
    )


def _exact(value: object, where: str) -> str:
    """Text that is compared as it stands, so that whatever looks like a pattern is a mistake."""
    if not isinstance(value, str) or not value.strip() or value != value.strip():
        raise SettingsError(f"{where} has to be a text that is not empty, without blanks around it")
    if "*" in value:
        raise SettingsError(f"{where} is compared exactly and takes no wildcard")
    return value


def _secret(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value.encode("utf-8", "replace")) < _SECRET_BYTES:
        raise SettingsError(f"{where} has to be at least {_SECRET_BYTES} bytes long")
    if value.lstrip().startswith(("-----BEGIN", "ssh-", "ecdsa-")):
        raise SettingsError(f"{where} is a key that others may know; a secret is random text")
    return value


def _url(value: object, where: str) -> str:
    """HTTPS, or plain HTTP to this very machine, where nobody can stand in between."""
    url = _exact(value, where)
    try:
        parts, _ = urlsplit(url), urlsplit(url).port
    except ValueError as error:
        raise SettingsError(f"{where} is not a URL") from error
    if not _URL.fullmatch(url) or not parts.hostname or "@" in parts.netloc:
        raise SettingsError(f"{where} has to be a URL with a host and without credentials")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise SettingsError(f"{where} has to start with https://")
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _leeway(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{where} has to be a number of seconds")
    if not 0 <= value <= _MAX_LEEWAY_SECONDS:
        raise SettingsError(f"{where} has to be 0 to {_MAX_LEEWAY_SECONDS} seconds")
    return float(value)


def _check_together(issuers: list[Issuer]) -> None:
    """Each `iss` has to lead to one issuer, or a token could choose how it is verified."""
    names = [issuer.name for issuer in issuers]
    if None in names and len(names) > 1:
        raise SettingsError("JWT_ISSUER has to name the secret's issuer beside JWT_ISSUERS")
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"The issuer {name} may be there once, with one way to verify")
