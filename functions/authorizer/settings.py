"""Whose tokens are accepted, read from the environment; unsafe settings refuse to start.

JWT_SECRET, JWT_ISSUER, JWT_AUDIENCE and JWT_SUBJECTS describe one issuer that shares a secret with
this API; JWT_PREVIOUS_SECRET is the secret it had before. JWT_ISSUERS is a JSON list of issuers,
each with `jwks_url` or `secret`, for all other cases.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import strict_json

import http_client

_SECRET_BYTES = 32  # RFC 7518, section 3.2: as long as HS256's hash
_DISTINCT_CHARACTERS = 8  # 32 random hexadecimal digits have fewer once in 20 million
_MAX_LEEWAY_SECONDS = 300
_SHARED = "HS256"
_OF_SECRET = ("JWT_SECRET", "JWT_ISSUER", "JWT_AUDIENCE", "JWT_SUBJECTS")
_PUBLIC = frozenset({"EdDSA", "ES256", "RS256"})
_MEMBERS = frozenset(
    {
        *("issuer", "audience", "audience_claim", "subjects"),
        *("jwks_url", "secret", "algorithms", "leeway"),
    }
)


class SettingsError(Exception):
    """The settings are unsafe or mean nothing; the text names the one that has to change."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs tokens, how its tokens are verified, and what they have to say.

    Either `secrets` or `jwks_url` is set. `name` is the exact `iss`, None for any; no `audiences`
    means any. Only an issuer with secrets may leave those open. With `subjects`, the issuer can
    name those users and no others. `leeway` is in seconds.
    """

    name: str | None
    audiences: frozenset[str]
    algorithms: frozenset[str]
    secrets: tuple[str, ...] = field(default=(), repr=False)
    jwks_url: str = ""
    audience_claim: str = "aud"
    subjects: frozenset[str] = frozenset()
    leeway: float = 0


def from_environment(environment: Mapping[str, str] = os.environ) -> list[Issuer]:
    """Return the accepted issuers, at least one. Raises SettingsError."""
    listed = _listed(environment.get("JWT_ISSUERS", ""))
    if listed and not any(map(environment.get, _OF_SECRET)):
        issuers = listed
    else:
        issuers = [_of_secret(environment), *listed]
    _check_together(issuers)
    return issuers


def check_secret(value: object, where: str) -> str:
    """Return a secret that is fit to sign tokens. Raises SettingsError, which names `where`."""
    if not isinstance(value, str) or len(value.encode("utf-8", "replace")) < _SECRET_BYTES:
        raise SettingsError(f"{where} has to be at least {_SECRET_BYTES} bytes long")
    if len(set(value)) < _DISTINCT_CHARACTERS:
        raise SettingsError(
            f"{where} has to be random: it has fewer than {_DISTINCT_CHARACTERS}"
            " different characters"
        )
    if value.lstrip().startswith(("-----BEGIN", "ssh-", "ecdsa-")):
        raise SettingsError(f"{where} is a key that others may know; a secret is random text")
    return value


def _of_secret(environment: Mapping[str, str]) -> Issuer:
    name = environment.get("JWT_ISSUER") or None
    audience = environment.get("JWT_AUDIENCE")
    secrets = [check_secret(environment.get("JWT_SECRET", ""), "JWT_SECRET")]
    if previous := environment.get("JWT_PREVIOUS_SECRET"):
        secrets.append(check_secret(previous, "JWT_PREVIOUS_SECRET"))
    return Issuer(
        name if name is None else _exact(name, "JWT_ISSUER"),
        frozenset({_exact(audience, "JWT_AUDIENCE")} if audience else ()),
        frozenset({_SHARED}),
        secrets=tuple(secrets),
        subjects=_subjects(environment.get("JWT_SUBJECTS", "")),
    )


def _subjects(text: str) -> frozenset[str]:
    """Read users that are separated by commas; none allows every user."""
    if not text:
        return frozenset()
    return frozenset(_exact(each.strip(), "JWT_SUBJECTS") for each in text.split(","))


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
        _texts(entry.get("audience"), f"{where}: audience")
        if not shared or "audience" in entry
        else frozenset(),
        algorithms,
        secrets=(check_secret(entry["secret"], f"{where}: secret"),) if shared else (),
        jwks_url="" if shared else _url(entry["jwks_url"], f"{where}: jwks_url"),
        audience_claim=_exact(entry.get("audience_claim", "aud"), f"{where}: audience_claim"),
        subjects=_texts(entry["subjects"], f"{where}: subjects")
        if "subjects" in entry
        else frozenset(),
        leeway=_leeway(entry.get("leeway", 0), f"{where}: leeway"),
    )


def _algorithms(entry: dict[str, Any], where: str) -> frozenset[str]:
    """Read the named algorithms. A secret has only one; a JWKS has no default."""
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


def _texts(value: object, where: str) -> frozenset[str]:
    """Read one text or several. An empty list would mean any, so it is refused."""
    if value == []:
        raise SettingsError(f"{where} has to name at least one")
    return frozenset(
        _exact(each, where) for each in (value if isinstance(value, list) else [value])
    )


def _exact(value: object, where: str) -> str:
    """Read a text that is compared exactly, so that anything like a pattern is a mistake."""
    if not isinstance(value, str) or not value.strip() or value != value.strip():
        raise SettingsError(f"{where} has to be a text that is not empty, without blanks around it")
    if "*" in value:
        raise SettingsError(f"{where} is compared exactly and takes no wildcard")
    return value


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


def _check_together(issuers: list[Issuer]) -> None:
    """Have each `iss` lead to one issuer, or a token could choose how it is verified."""
    names = [issuer.name for issuer in issuers]
    if None in names and len(names) > 1:
        raise SettingsError("JWT_ISSUER has to name the secret's issuer beside JWT_ISSUERS")
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"The issuer {name} may be there once, with one way to verify")
