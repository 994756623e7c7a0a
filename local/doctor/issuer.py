"""The issuers and a token, judged by the authorizer's own code."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import keys
import tokens
from settings import Issuer, SettingsError, from_environment

import http_client
from local.doctor.findings import Finding, Findings, State
from secrets_manager import SecretRefusedError, SecretUnavailableError

_CLOCK_SECONDS = 5
_FINE, _HURTS, _BROKEN, _UNCHECKED = State
SOURCES = ("JWT_SECRET", "JWT_SECRET_ID", "JWT_ISSUERS", "NEON_AUTH_URL")


def issuers(environ: Mapping[str, str]) -> tuple[list[Issuer], list[Callable[[], Findings]]]:
    """Return the configured issuers, and the checks of them."""
    try:
        found = from_environment(environ)
    except SettingsError as error:
        broken = Finding("issuer", "settings", _BROKEN, f"{error}.")
        return [], [lambda: iter([broken])]
    named = ", ".join(each.issuer or "a secret for any iss" for each in found)
    fine = Finding("issuer", "settings", _FINE, named)
    remote = [partial(_keys, each) for each in found if each.jwks_url]
    return found, [lambda: iter([fine]), *remote]


def _keys(issuer: Issuer) -> Findings:
    """Fetch the JWKS as the authorizer does, and say which keys fit and why others do not."""
    found = partial(Finding, "issuer")
    try:
        response = http_client.request(
            "GET", issuer.jwks_url, timeout=keys.FETCH_SECONDS, max_bytes=keys.MAX_BYTES
        )
        judged = list(keys.judged(response, issuer.algorithms))
    except (http_client.HTTPClientError, ValueError) as error:
        yield found("keys", _BROKEN, f"{issuer.jwks_url}: {error}.")
        return
    fit = [kid for kid, key in judged if not isinstance(key, str)]
    unfit = [f"{kid or 'one'} {key}" for kid, key in judged if isinstance(key, str)]
    text = "; ".join([f"{len(fit)} fit" + (f" ({', '.join(fit)})" if fit else ""), *unfit])
    if fit:
        yield found("keys", _FINE, text)
    else:
        text = f"No key of {issuer.jwks_url} fits: {text}; compare `algorithms`."
        yield found("keys", _BROKEN, text)
    yield found("clock", *_clock(response))


def _clock(response: http_client.Response) -> tuple[State, str]:
    try:
        theirs = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except ValueError:
        return _UNCHECKED, "the issuer's response has no date"
    ahead = round(time.time() - theirs)
    if abs(ahead) <= _CLOCK_SECONDS:
        return _FINE, "the same as the issuer's"
    where = "ahead of" if ahead > 0 else "behind"
    return _HURTS, f"This clock is {abs(ahead)} s {where} the issuer's: synchronize them by NTP."


def token(text: str, trusted: list[Issuer]) -> Findings:
    """Verify a token as the authorizer does."""
    found = partial(Finding, "token", "token")
    credentials = text if " " in text.strip() else f"Bearer {text.strip()}"
    try:
        caller = tokens.Verifier(trusted).verify(credentials)
    except tokens.TokenError as error:
        yield found(_BROKEN, f"It is refused, because {error}{_about(text, trusted)}.")
    except keys.KeysUnavailableError:
        yield found(_UNCHECKED, "the issuer's keys cannot be fetched")
    except (SettingsError, SecretRefusedError, SecretUnavailableError) as error:
        yield found(_UNCHECKED, f"the secret cannot be read: {error}")
    else:
        now = time.time()
        if caller.nbf is not None:
            seconds = caller.nbf - now
            yield found(_HURTS, f"It holds only in {seconds:.0f} s: compare the issuer's clock.")
        else:
            yield found(_FINE, f"accepted for another {(caller.exp - now) / 60:.0f} minutes")


def _about(text: str, trusted: list[Issuer]) -> str:
    """Return what the token says of itself beside what is configured, and nothing of its user."""
    try:
        header, claims, _ = tokens.read(text.split()[-1])
    except (tokens.TokenError, IndexError):
        return ""
    issuer = next((each for each in trusted if each.issuer in ("", claims.get("iss"))), None)
    said: list[tuple[str, Any, list[str]]] = [
        ("iss", claims.get("iss"), [each.issuer for each in trusted])
    ]
    if issuer:
        aud = issuer.audience_claim
        said.append((aud, claims.get(aud), sorted(issuer.audience)))
        said.append(("alg", header.get("alg"), sorted(issuer.algorithms)))
    parts = [
        f"{name} is {its!r}, {' or '.join(wanted)} is configured"
        for name, its, wanted in said
        if any(wanted)
    ]
    return f" ({'; '.join(parts)})" if parts else ""
