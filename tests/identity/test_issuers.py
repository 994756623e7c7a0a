"""Tokens as the documented issuers make them, and several issuers at once."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.identity.harness import SECRET, Context, authorizer, load
from tests.identity.issuers import Jwks, Key, hs256, token
from tests.running import ROOT

ED, RSA, EC = Key.new("EdDSA", "Q9nV0b6YpZk"), Key.new("RS256", "abc="), Key.new("ES256", "es-1")
USER = "b7c1f7f0-6f0e-4a53-9d3b-0c9f8a2f4a11"


@pytest.fixture(scope="module")
def jwks() -> Iterator[Jwks]:
    with Jwks([ED.jwk, RSA.jwk, EC.jwk]) as running:
        yield running


def verdict(environment: dict[str, str], text: str) -> dict[str, str]:
    """Return what the authorizer says of a token, with these settings."""
    answer = authorizer(environment)({"identitySource": [f"Bearer {text}"]}, Context())
    context: dict[str, str] = answer["context"]
    return context


def settings(
    jwks: Jwks, issuer: str, audience: object, algorithm: str, **more: Any
) -> dict[str, str]:
    members = {"issuer": issuer, "audience": audience, "jwks_url": jwks.url}
    return {"JWT_ISSUERS": json.dumps([members | {"algorithms": [algorithm]} | more])}


def better_auth(base: str, **changes: Any) -> dict[str, Any]:
    """Return the claims of Better Auth's jwt plugin: those of the session's user, and its own.

    They are from better-auth/better-auth on GitHub, the file src/plugins/jwt/sign.ts of its main
    package.
    """
    now = int(time.time())
    user = {
        "name": "Alice",
        "email": "alice@example.com",
        "emailVerified": True,
        "image": None,
        "createdAt": "2026-11-01T08:00:00.000Z",
        "updatedAt": "2026-11-01T08:00:00.000Z",
        "id": USER,
    }
    return {"iat": now, **user, "sub": USER, "exp": now + 900, "iss": base, "aud": base} | changes


def test_better_auths_jwt_plugin_with_its_jwks(jwks: Jwks) -> None:
    base = "http://localhost:3000"
    text = token({"alg": "EdDSA", "kid": ED.kid}, better_auth(base), ED.sign)
    assert verdict(settings(jwks, base, base, "EdDSA"), text)["sub"] == USER


def test_better_auth_with_a_shared_secret() -> None:
    """The application's own route makes it with jose and the secret that both sides know."""
    now = int(time.time())
    text = token(
        {"alg": "HS256"}, {"sub": USER, "iat": now, "exp": now + 900}, hs256(SECRET.encode())
    )
    assert verdict({"JWT_SECRET": SECRET}, text)["sub"] == USER


def test_neon_auth(jwks: Jwks) -> None:
    """Neon runs Better Auth: `iss` and `aud` are the origin, and the JWKS is below the path."""
    origin = "https://ep-cool-lake-a1b2c3d4.neonauth.eu-central-1.aws.neon.tech"
    claims = better_auth(
        origin, role="authenticated", banned=False, banReason=None, banExpires=None
    )
    text = token({"alg": "EdDSA", "kid": ED.kid}, claims, ED.sign)
    assert verdict(settings(jwks, origin, origin, "EdDSA"), text)["sub"] == USER


def test_neon_auth_is_configured_by_its_url_alone(jwks: Jwks) -> None:
    """A client may write the algorithm's new name (RFC 9864), which is the same algorithm."""
    origin = jwks.url.removesuffix(urlsplit(jwks.url).path)
    environment = {"NEON_AUTH_URL": f"{origin}/neondb/auth/"}
    for name in ("EdDSA", "Ed25519"):
        text = token({"alg": name, "kid": ED.kid}, better_auth(origin), ED.sign)
        assert verdict(environment, text)["sub"] == USER
    elsewhere = token({"alg": "EdDSA", "kid": ED.kid}, better_auth("https://other.test"), ED.sign)
    assert "sub" not in verdict(environment, elsewhere)


def test_auth0(jwks: Jwks) -> None:
    """A second audience is that of the user's profile, and `sub` contains a bar."""
    tenant, api = "https://tenant.eu.auth0.com/", "https://tasks.example.com"
    now = int(time.time())
    claims = {
        "iss": tenant,
        "sub": "auth0|65f1c0ffee",
        "aud": [api, f"{tenant}userinfo"],
        "iat": now,
        "exp": now + 86_400,
        "scope": "openid profile",
        "azp": "my-client",
    }
    text = token({"alg": "RS256", "typ": "JWT", "kid": RSA.kid}, claims, RSA.sign)
    assert verdict(settings(jwks, tenant, api, "RS256"), text)["sub"] == "auth0|65f1c0ffee"


def cognito(**changes: Any) -> str:
    now = int(time.time())
    claims = {
        "sub": USER,
        "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab129faBb",
        "client_id": "4b8example",
        "token_use": "access",
        "auth_time": now,
        "iat": now,
        "exp": now + 3600,
        "username": "alice",
    } | changes
    return token({"kid": RSA.kid, "alg": "RS256"}, claims, RSA.sign)


def test_cognito_whose_access_tokens_have_a_client_in_place_of_an_audience(jwks: Jwks) -> None:
    pool = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab129faBb"
    accepted = settings(jwks, pool, "4b8example", "RS256", audience_claim="client_id")
    assert verdict(accepted, cognito())["sub"] == USER
    assert "refusal" in verdict(accepted, cognito(client_id="another"))
    assert "refusal" in verdict(accepted, cognito(client_id=None, aud="4b8example"))


def test_es256_as_supabase_signs(jwks: Jwks) -> None:
    issuer = "https://project.supabase.co/auth/v1"
    now = int(time.time())
    claims = {"iss": issuer, "sub": USER, "aud": "authenticated", "exp": now + 3600, "iat": now}
    text = token({"alg": "ES256", "kid": EC.kid, "typ": "JWT"}, claims, EC.sign)
    assert verdict(settings(jwks, issuer, "authenticated", "ES256"), text)["sub"] == USER


def test_an_issuer_that_is_being_retired_stands_beside_its_successor(jwks: Jwks) -> None:
    base = "https://auth.example.com"
    both = settings(jwks, base, base, "EdDSA") | {"JWT_SECRET": SECRET, "JWT_ISSUER": "legacy"}
    old = {"iss": "legacy", "sub": USER, "exp": int(time.time()) + 60}
    assert verdict(both, token({"alg": "HS256"}, old, hs256(SECRET.encode())))["sub"] == USER
    new = token({"alg": "EdDSA", "kid": ED.kid}, better_auth(base), ED.sign)
    assert verdict(both, new)["sub"] == USER
    crossed = token({"alg": "HS256"}, old | {"iss": base}, hs256(SECRET.encode()))
    assert verdict(both, crossed) == {"refusal": "The token is not valid"}


def test_leeway_is_given_to_the_end_of_a_token_and_told_to_the_handlers(jwks: Jwks) -> None:
    """The handlers check `exp` again, so they have to know the leeway."""
    base, past = "https://auth.example.com", int(time.time()) - 10
    claims = better_auth(base, exp=past)
    text = token({"alg": "EdDSA", "kid": ED.kid}, claims, ED.sign)
    assert verdict(settings(jwks, base, base, "EdDSA"), text) == {
        "refusal": "The token has expired"
    }
    lenient = verdict(settings(jwks, base, base, "EdDSA", leeway=60), text)
    assert (lenient["sub"], lenient["exp"]) == (USER, str(past + 60))


@pytest.mark.parametrize(
    ("seconds", "public"),
    [(-0.1, None), (0, "The token has expired"), (0.1, "The token has expired")],
)
def test_a_token_ends_with_the_second_that_it_names(seconds: float, public: str | None) -> None:
    with load({"JWT_SECRET": SECRET}) as modules:
        tokens, issuers = modules["tokens"], modules["settings"].from_environment
    end = 2_000_000_000
    verifier = tokens.Verifier(issuers({"JWT_SECRET": SECRET}), clock=lambda: float(end + seconds))
    text = token({"alg": "HS256"}, {"sub": "alice", "exp": end}, hs256(SECRET.encode()))
    if public is None:
        assert verifier.verify(f"Bearer {text}") == tokens.Caller("alice", end)
    else:
        with pytest.raises(tokens.TokenError) as refused:
            verifier.verify(f"Bearer {text}")
        assert refused.value.public == public


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize(("ahead", "nbf"), [(5, None), (6, 1), (5.5, 1), (3600, 3595)])
def test_an_issuers_clock_may_be_five_seconds_ahead(
    claim: str, ahead: float, nbf: int | None
) -> None:
    """Otherwise a token that is used at once would be refused for a fraction of a second."""
    now = 2_000_000_000
    claims = {"sub": "alice", "exp": now + 9000, claim: now + ahead}
    with load({"JWT_SECRET": SECRET}) as modules:
        issuers = modules["settings"].from_environment({"JWT_SECRET": SECRET})
        verifier = modules["tokens"].Verifier(issuers, clock=lambda: float(now))
    text = f"Bearer {token({'alg': 'HS256'}, claims, hs256(SECRET.encode()))}"
    assert verifier.verify(text).nbf == (None if nbf is None else now + nbf)


def test_leeway_is_given_to_the_beginning_of_a_token_too(jwks: Jwks) -> None:
    base, soon = "https://auth.example.com", int(time.time()) + 100
    claims = better_auth(base, exp=soon + 900, nbf=soon)
    text = token({"alg": "EdDSA", "kid": ED.kid}, claims, ED.sign)
    assert verdict(settings(jwks, base, base, "EdDSA"), text)["nbf"] == str(soon - 5)
    assert verdict(settings(jwks, base, base, "EdDSA", leeway=60), text)["nbf"] == str(soon - 60)


def test_the_settings_that_the_documentation_shows_are_accepted() -> None:
    shown = re.findall(r"^JWT_ISSUERS='(.+)'$", (ROOT / "docs" / "identity.md").read_text(), re.M)
    assert len(shown) >= 5
    with load({"JWT_SECRET": SECRET}) as modules:
        for text in shown:
            assert modules["settings"].from_environment({"JWT_ISSUERS": text})
