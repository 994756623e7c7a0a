"""The issuers and a token, judged by the authorizer's own code."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import keys
import tokens
from settings import Issuer, SettingsError, from_environment

import http_client
from local.doctor.findings import BROKEN, FINE, HURTS, UNCHECKED, Finding, Findings, State, judge
from secrets_manager import SecretRefusedError, SecretUnavailableError

_EARLY_SECONDS = 5
SOURCES = ("JWT_SECRET", "JWT_SECRET_ID", "JWT_ISSUERS", "NEON_AUTH_URL")


def read(environ: Mapping[str, str]) -> tuple[list[Issuer], Finding]:
    """Return the issuers that are configured, and the line about their settings."""
    try:
        found = from_environment(environ)
    except SettingsError as error:
        return [], Finding("issuer", "settings", BROKEN, f"{error}.")
    names = ", ".join(each.issuer or "a secret, for any iss" for each in found)
    return found, Finding("issuer", "settings", FINE, names)


def check(issuer: Issuer) -> Findings:
    """Fetch the JWKS as the authorizer does, and say which keys fit and why others do not."""
    try:
        response = http_client.request(
            "GET", issuer.jwks_url, timeout=keys.FETCH_SECONDS, max_bytes=keys.MAX_BYTES
        )
        judged = list(keys.judged(response, issuer.algorithms))
    except (http_client.HTTPClientError, ValueError) as error:
        yield Finding("issuer", "keys", BROKEN, f"{issuer.jwks_url}: {error}.")
        return
    fit = [kid for kid, key in judged if not isinstance(key, str)]
    parts = [f"{kid} fits" if kid in fit else f"{kid} {key}" for kid, key in judged]
    text = "; ".join(parts) or "there is none"
    none = f"No key of {issuer.jwks_url} can be used: {text}."
    yield judge("issuer", "keys", text, (not fit, BROKEN, none))
    yield Finding("issuer", "clock", *_clock(response))


def _clock(response: http_client.Response) -> tuple[State, str]:
    try:
        theirs = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except ValueError:
        return UNCHECKED, "the issuer's response has no date"
    ahead = round(time.time() - theirs)
    if abs(ahead) <= _EARLY_SECONDS:
        return FINE, "the same as the issuer's"
    where = "ahead of" if ahead > 0 else "behind"
    return HURTS, f"This clock is {abs(ahead)} s {where} the issuer's: synchronize both."


def check_token(text: str, trusted: list[Issuer]) -> Findings:
    """Verify a token as the authorizer does, and say why it is refused."""
    yield Finding("token", "token", *_verified(text.strip(), trusted))


def _verified(text: str, trusted: list[Issuer]) -> tuple[State, str]:
    credentials = text if " " in text else f"Bearer {text}"
    try:
        caller = tokens.Verifier(trusted).verify(credentials)
    except tokens.TokenError as error:
        return BROKEN, f"It is refused: {error}{_about(text, trusted)}."
    except keys.KeysUnavailableError as error:
        return UNCHECKED, str(error)
    except (SettingsError, SecretRefusedError, SecretUnavailableError) as error:
        return BROKEN, f"{error}."
    now = time.time()
    if caller.nbf is not None:
        return HURTS, f"It holds only in {caller.nbf - now:.0f} s: compare the issuer's clock."
    return FINE, f"accepted for another {(caller.exp - now) / 60:.0f} minutes"


def _about(text: str, trusted: list[Issuer]) -> str:
    """Return what the token says that is not what is configured, and nothing of its user."""
    try:
        header, claims, _ = tokens.read(text.rpartition(" ")[2])
    except tokens.TokenError:
        return ""
    said = [("iss", claims.get("iss"), [each.issuer for each in trusted])]
    for issuer in (each for each in trusted if each.issuer in ("", claims.get("iss"))):
        name = issuer.audience_claim
        said.append((name, claims.get(name), sorted(issuer.audience)))
        said.append(("alg", header.get("alg"), sorted(issuer.algorithms)))
    parts = [
        f"{name} is {its!r}, configured is {' or '.join(known)}"
        for name, its, known in said
        if any(known)
        and not any(each in known for each in (its if isinstance(its, list) else [its]))
    ]
    return f" ({'; '.join(parts)})" if parts else ""
