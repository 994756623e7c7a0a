"""The settings say whose tokens are accepted, and an unsafe setting refuses to start."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.identity.harness import SECRET, authorizer, load

ISSUER = "https://issuer.example"
JWKS: dict[str, object] = {
    "issuer": ISSUER,
    "audience": "https://api.example",
    "jwks_url": "https://issuer.example/jwks",
    "algorithms": ["RS256"],
}
SHARED: dict[str, object] = {"issuer": "https://shared.example", "secret": SECRET}


@pytest.fixture(scope="module")
def settings() -> Iterator[Any]:
    with load({"JWT_SECRET": SECRET}) as modules:
        yield modules["settings"]


def entry(**changes: object) -> dict[str, str]:
    """Return the environment of one issuer with some members changed; `...` leaves a member out."""
    changed = {name: value for name, value in (JWKS | changes).items() if value is not ...}
    return {"JWT_ISSUERS": json.dumps([changed])}


def listed(*entries: object) -> dict[str, str]:
    return {"JWT_ISSUERS": json.dumps(entries)}


def secret(text: str = SECRET, **more: str) -> dict[str, str]:
    """Return the environment of the issuer with a secret; `ISSUER` stands for `JWT_ISSUER`."""
    return {"JWT_SECRET": text} | {f"JWT_{name}": value for name, value in more.items()}


def _forms(private: Any) -> Iterator[tuple[str, str]]:
    """Yield a key in each form in which somebody may take it for a secret."""
    public = private.public_key()
    halves = {
        "public": (public.public_bytes, (PublicFormat.SubjectPublicKeyInfo,)),
        "private": (private.private_bytes, (PrivateFormat.PKCS8, NoEncryption())),
    }
    for half, (to_bytes, form) in halves.items():
        pem = to_bytes(Encoding.PEM, *form)
        der = base64.b64encode(to_bytes(Encoding.DER, *form)).decode()
        yield f"{half}, PEM", f"# mine\n{pem.decode()}"
        yield f"{half}, PEM in base64", base64.b64encode(pem).decode()
        yield f"{half}, base64url", der.rstrip("=").translate(URLSAFE)
        yield f"{half}, lines", "\n".join(pem.decode().splitlines()[1:-1])
    ssh = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    yield "SSH", ssh
    yield "SSH in base64", ssh.split()[1]


URLSAFE = str.maketrans("+/", "-_")
KEYS = {
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "RSA": rsa.generate_private_key(65537, 2048),
}
NOT_SECRET = {
    **{f"{name}: {form}": text for name, key in KEYS.items() for form, text in _forms(key)},
    "JWKS": '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS"}]}',
    "its address": "https://issuer.example/.well-known/jwks.json",
    "FastAPI's": "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "Spring's": "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "RFC 7515's": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0i",
    "jwt.io's": "a-string-secret-at-least-256-bits-long",
    "Supabase's": "super-secret-jwt-token-with-at-least-32-characters-long",
    "Better Auth's": "better-auth-secret-12345678901234567890",
    "one to change": "change_this_to_a_long_random_text_0123456789",
}


@pytest.mark.parametrize("name", NOT_SECRET)
def test_what_others_know_is_no_secret(settings: Any, name: str) -> None:
    text = NOT_SECRET[name]
    sentence = "X is (a key|an address|known from an example).* random"
    with pytest.raises(settings.SettingsError, match=sentence) as caught:
        settings.check_secret(text, "X")
    assert text not in str(caught.value)


def test_a_random_secret_is_accepted_in_any_form_and_from_the_least_length(settings: Any) -> None:
    for size in range(24, 124):
        raw = secrets.token_bytes(size)
        texts = (raw.hex(), raw.hex()[:32], base64.b64encode(raw).decode())
        for text in (*texts, secrets.token_urlsafe(size)):
            assert settings.check_secret(text, "X") == text


LEAST = "has to be at least 32 bytes long"
NO_WILDCARD = "is compared exactly and takes no wildcard"
ONE_WAY = "needs a secret with HS256 or a jwks_url with other algorithms, not both"
KNOWN = "may hold ES256, EdDSA, HS256, RS256"
UNSAFE: dict[str, tuple[dict[str, str], str]] = {
    "nothing": ({}, f"JWT_SECRET {LEAST}"),
    "short secret": (secret("x" * 31), f"JWT_SECRET {LEAST}"),
    "secret of blanks": (secret(" " * 32), "has to be random: it has fewer than 8"),
    "secret of seven characters": (secret("abcdefg" * 9), "has to be random: it has fewer than 8"),
    "weak previous secret": (
        secret(PREVIOUS_SECRET="x" * 32),
        "JWT_PREVIOUS_SECRET has to be rand",
    ),
    "weak secret in the list": (listed(SHARED | {"secret": "x" * 32}), "secret has to be random"),
    "subjects without secret": ({"JWT_SUBJECTS": "a", **listed(JWKS)}, "JWT_SECRET has to be"),
    "an empty subject": (secret(SUBJECTS="a,,b"), "JWT_SUBJECTS has to be a text"),
    "a wildcard among subjects": (secret(SUBJECTS="a,*"), f"JWT_SUBJECTS {NO_WILDCARD}"),
    "no subject of many": (entry(subjects=[]), "subjects has to name at least one"),
    "wildcard audience of the secret": (secret(AUDIENCE="*"), f"JWT_AUDIENCE {NO_WILDCARD}"),
    "blanks around an issuer": (secret(ISSUER=" i"), "JWT_ISSUER has to be"),
    "not JSON": ({"JWT_ISSUERS": "[{]"}, "JWT_ISSUERS is not a JSON list"),
    "empty list": (listed(), "JWT_ISSUERS has to be a JSON list of one or more"),
    "no object": (listed("https://issuer.example"), r"JWT_ISSUERS\[0\] has to be a JSON object"),
    "a member twice": ({"JWT_ISSUERS": '[{"issuer": "a", "issuer": "b"}]'}, "is not a JSON list"),
    "unknown member": (entry(jwks_uri="x"), "unknown member: jwks_uri"),
    "no issuer": (entry(issuer=...), r"JWT_ISSUERS\[0\]: issuer has to be a text"),
    "wildcard issuer": (entry(issuer="*"), f"issuer {NO_WILDCARD}"),
    "no audience": (entry(audience=...), "audience has to be a text"),
    "wildcard among audiences": (entry(audience=["a", "https://*"]), f"audience {NO_WILDCARD}"),
    "neither secret nor JWKS": (entry(jwks_url=...), ONE_WAY),
    "secret and JWKS": (entry(secret=SECRET), ONE_WAY),
    "HS256 by a JWKS": (entry(algorithms=["HS256"]), ONE_WAY),
    "HS256 beside a JWKS": (entry(algorithms=["RS256", "HS256"]), "mixes HS256 with public keys"),
    "RS256 with a secret": (listed(SHARED | {"algorithms": ["RS256"]}), ONE_WAY),
    "no algorithms": (entry(algorithms=...), "algorithms has to list at least one"),
    **{f"algorithm {a!r}": (entry(algorithms=[a]), KNOWN) for a in ("none", "rs256", "*", None)},
    "plain http": (entry(jwks_url="http://issuer.example/jwks"), "has to start with https://"),
    **{f"leeway {n!r}": (entry(leeway=n), "leeway has to be") for n in (-1, 301, "30", True)},
    "an issuer by JWKS and by secret": (
        secret(ISSUER=ISSUER) | listed(JWKS),
        "may be there once, with one way to verify",
    ),
    "a secret for any issuer beside a JWKS": (
        secret() | listed(JWKS),
        "JWT_ISSUER has to name the secret's issuer beside other issuers",
    ),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_an_unsafe_setting_refuses_to_start_with_one_sentence(settings: Any, case: str) -> None:
    environment, why = UNSAFE[case]
    with pytest.raises(settings.SettingsError, match=why) as refused:
        settings.from_environment(environment)
    sentence = str(refused.value)
    assert "JWT_" in sentence or "issuer" in sentence
    assert "\n" not in sentence
    assert SECRET not in sentence


def test_the_function_itself_does_not_start() -> None:
    with pytest.raises(Exception, match="JWT_SECRET has to be at least 32 bytes long"):
        authorizer({"JWT_SECRET": "short"})


@pytest.mark.parametrize("subjects", ["", "*"])
def test_a_secret_alone_accepts_any_issuer_audience_and_user(settings: Any, subjects: str) -> None:
    given = secret(ISSUER="", AUDIENCE="", ISSUERS="", SUBJECTS=subjects)
    (issuer,) = settings.from_environment(given)
    assert (issuer.issuer, issuer.audience, issuer.algorithms) == ("", set(), {"HS256"})
    assert issuer.subjects == set()


def test_all_that_issuers_side_by_side_may_say_is_read(settings: Any) -> None:
    full = JWKS | {
        "audience": ["a", "b"],
        "algorithms": ["EdDSA", "ES256", "RS256"],
        "leeway": 30,
        "audience_claim": "client_id",
        "subjects": ["task-api-smoke", "auth0|1"],
    }
    given = secret(ISSUER="old", SUBJECTS="a, auth0|1") | listed(full, SHARED)
    old, issuer, shared = settings.from_environment(given)
    assert [each.issuer for each in (old, issuer, shared)] == ["old", ISSUER, SHARED["issuer"]]
    assert old.subjects == {"a", "auth0|1"}
    assert issuer.audience == {"a", "b"}
    assert issuer.algorithms == {"EdDSA", "ES256", "RS256"}
    assert (issuer.leeway, issuer.audience_claim) == (30, "client_id")
    assert issuer.subjects == {"task-api-smoke", "auth0|1"}


def test_a_secret_is_in_no_representation(settings: Any) -> None:
    before = SECRET[::-1]
    shown = repr(settings.from_environment(secret(PREVIOUS_SECRET=before)))
    assert SECRET not in shown
    assert before not in shown
