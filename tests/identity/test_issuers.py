"""Tokens as the documented issuers make them, and several issuers at once."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.functions.handlers import Context
from tests.identity.harness import SECRET, authorizer, load
from tests.identity.issuers import Jwks, Key, hs256, token
from tests.running import ROOT

ED, RSA, EC = Key.new("EdDSA", "Q9nV0b6YpZk"), Key.new("RS256", "abc="), Key.new("ES256", "es-1")
USER, BASE = "b7c1f7f0-6f0e-4a53-9d3b-0c9f8a2f4a11", "https://auth.example.com"


@pytest.fixture(scope="module")
def jwks() -> Iterator[Jwks]:
    with Jwks([ED.jwk, RSA.jwk, EC.jwk]) as running:
        yield running


def verdict(environment: dict[str, str], text: str) -> dict[str, str]:
    """Return what the authorizer says of a token, with these settings."""
    answer = authorizer(environment)({"identitySource": [f"Bearer {text}"]}, Context())
    context: dict[str, str] = answer["context"]
    return context


def settings(jwks: Jwks, issuer: str, *, algorithm: str = "EdDSA", **more: Any) -> dict[str, str]:
    members = {"issuer": issuer, "audience": issuer, "jwks_url": jwks.url}
    return {"JWT_ISSUERS": json.dumps([members | {"algorithms": [algorithm]} | more])}


BETTER_AUTH = "http://localhost:3000"
AUTH0, SUPABASE = "https://tenant.eu.auth0.com/", "https://project.supabase.co/auth/v1"
COGNITO = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab129faBb"


def of(issuer: str, audience: object, **more: Any) -> dict[str, Any]:
    """Return the claims of a token that is good now; `None` leaves one out."""
    now = int(time.time())
    claims = {"iss": issuer, "aud": audience, "sub": USER, "iat": now, "exp": now + 900} | more
    return {name: value for name, value in claims.items() if value is not None}


# The header of each issuer's tokens, their claims, and what the settings name.
ISSUERS: dict[str, tuple[Key, dict[str, str], dict[str, Any], dict[str, Any]]] = {
    # better-auth/better-auth on GitHub, src/plugins/jwt/sign.ts: the session's user, and its own.
    "Better Auth": (
        ED,
        {},
        of(BETTER_AUTH, BETTER_AUTH, name="Alice", emailVerified=True, id=USER),
        {"audience": BETTER_AUTH},
    ),
    "Auth0, whose second audience is the user's profile": (
        RSA,
        {"typ": "JWT"},
        of(AUTH0, ["https://tasks.example", f"{AUTH0}userinfo"], azp="my-client"),
        {"audience": "https://tasks.example"},
    ),
    "Cognito, whose access tokens have a client in place of an audience": (
        RSA,
        {},
        of(COGNITO, None, client_id="4b8example", token_use="access"),
        {"audience": "4b8example", "audience_claim": "client_id"},
    ),
    "Supabase": (EC, {"typ": "JWT"}, of(SUPABASE, "authenticated"), {"audience": "authenticated"}),
}


@pytest.mark.parametrize("name", ISSUERS)
def test_a_token_as_the_documented_issuer_makes_it_is_accepted(jwks: Jwks, name: str) -> None:
    key, header, claims, named = ISSUERS[name]
    accepted = settings(jwks, claims["iss"], algorithm=key.algorithm, **named)
    text = token(key.header | header, claims, key.sign)
    assert verdict(accepted, text)["sub"] == USER
    other = claims | {named.get("audience_claim", "aud"): "another"}
    assert "refusal" in verdict(accepted, token(key.header | header, other, key.sign))


def test_neon_auth_is_configured_by_its_url_alone(jwks: Jwks) -> None:
    """A client may write the algorithm's new name (RFC 9864), which is the same algorithm."""
    origin = jwks.url.removesuffix(urlsplit(jwks.url).path)
    environment = {"NEON_AUTH_URL": f"{origin}/neondb/auth/"}
    for name in ("EdDSA", "Ed25519"):
        text = token(ED.header | {"alg": name}, of(origin, origin, role="authenticated"), ED.sign)
        assert verdict(environment, text)["sub"] == USER
    assert jwks.path == "/neondb/auth/.well-known/jwks.json"
    elsewhere = token(ED.header, of("https://other.test", origin), ED.sign)
    assert "sub" not in verdict(environment, elsewhere)


def test_leeway_is_given_to_both_ends_of_a_token_and_told_to_the_handlers(jwks: Jwks) -> None:
    """The handlers check `exp` and `nbf` again, so they have to know the leeway."""
    now = int(time.time())
    past = token(ED.header, of(BASE, BASE, exp=now - 10), ED.sign)
    early = token(ED.header, of(BASE, BASE, nbf=now + 100), ED.sign)
    assert verdict(settings(jwks, BASE), past) == {"refusal": "The token has expired"}
    assert verdict(settings(jwks, BASE), early)["nbf"] == str(now + 95)
    lenient = settings(jwks, BASE, leeway=60)
    assert verdict(lenient, past)["exp"] == str(now + 50)
    assert verdict(lenient, early)["nbf"] == str(now + 40)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize(("ahead", "nbf"), [(5, None), (5.5, 1), (3600, 3595)])
def test_an_issuers_clock_may_be_five_seconds_ahead(
    claim: str, ahead: float, nbf: int | None
) -> None:
    """Otherwise a token that is used at once would be refused for a fraction of a second."""
    now = 2_000_000_000
    claims = {"sub": "alice", "exp": now + 9000, claim: now + ahead}
    with load({"JWT_SECRET": SECRET}) as modules:
        issuers = modules["settings"].from_environment({"JWT_SECRET": SECRET})
        verifier = modules["tokens"].Verifier(issuers, clock=lambda: now)
        found = verifier.verify(f"Bearer {token({'alg': 'HS256'}, claims, hs256(SECRET.encode()))}")
    assert found.nbf == (None if nbf is None else now + nbf)


def test_the_settings_that_the_documentation_shows_are_accepted() -> None:
    page = (ROOT / "docs" / "issuers.md").read_text()
    shown = re.findall(r"^JWT_ISSUERS='(.+)'$", page, re.M)
    assert len(shown) >= 5
    with load({"JWT_SECRET": SECRET}) as modules:
        for text in shown:
            assert modules["settings"].from_environment({"JWT_ISSUERS": text})
