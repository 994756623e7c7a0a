"""An issuer's JWKS: fetched, cached, rotated, and kept while the issuer is away."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.functions.handlers import Context
from tests.identity.harness import SECRET, authorizer, load
from tests.identity.issuers import Clock, Jwks, Key, b64, token

ALL = frozenset({"EdDSA", "RS256", "ES256"})

OLD, NEW, RSA, EC = (
    Key.new(algorithm, kid)
    for algorithm, kid in (("EdDSA", "old"), ("EdDSA", "new"), ("RS256", "rsa"), ("ES256", "ec"))
)


@pytest.fixture(scope="module")
def keys() -> Iterator[Any]:
    with load({"JWT_SECRET": SECRET}) as modules:
        yield modules["keys"]


@pytest.fixture
def jwks() -> Iterator[Jwks]:
    with Jwks([OLD.jwk]) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def remote(keys: Any, jwks: Jwks, clock: Clock) -> Any:
    return keys.RemoteKeys(jwks.url, ALL, clock=clock)


def test_keys_are_fetched_when_they_are_first_needed_and_again_when_they_are_old(
    remote: Any, keys: Any, jwks: Jwks, clock: Clock
) -> None:
    asked = [jwks.asked]
    for seconds in (0, keys.MAX_AGE_SECONDS - 1, 1):
        clock.now += seconds
        assert remote.find("old", "EdDSA")[0].algorithm_name == "EdDSA"
        asked.append(jwks.asked)
    assert asked == [0, 1, 1, 2]


def test_a_thousand_made_up_key_ids_cost_the_issuer_one_question_per_cooldown(
    remote: Any, keys: Any, jwks: Jwks, clock: Clock
) -> None:
    remote.find("old", "EdDSA")
    jwks.keys.append(NEW.jwk)
    assert remote.find("new", "EdDSA"), "it is found at once, right after a fetch"
    clock.now += keys.COOLDOWN_SECONDS
    for rounds in (3, 4):
        for number in range(1000):
            with pytest.raises(keys.UnknownKeyError):
                remote.find(f"made-up-{number}", "EdDSA")
        assert jwks.asked == rounds
        assert remote.find("old", "EdDSA")
        clock.now += keys.COOLDOWN_SECONDS


def test_a_key_that_is_withdrawn_is_gone_after_the_next_fetch(
    remote: Any, keys: Any, jwks: Jwks, clock: Clock
) -> None:
    remote.find("old", "EdDSA")
    jwks.keys[:] = [NEW.jwk]
    clock.now += keys.MAX_AGE_SECONDS
    with pytest.raises(keys.UnknownKeyError):
        remote.find("old", "EdDSA")
    assert remote.find("new", "EdDSA")


OUTAGES: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "302": {"status": 302},
    "not JSON": {"body": b"<html>"},
    "no keys": {"body": b'{"error": "slow down"}'},
    "keys twice": {"body": b'{"keys": [], "keys": []}'},
    "too large": {"body": b'{"keys": []}' + b" " * 256 * 1024},
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_the_old_keys_stay_while_the_issuer_is_down(
    remote: Any,
    keys: Any,
    jwks: Jwks,
    clock: Clock,
    outage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Before any key is known, the answer is neither yes nor no."""
    good = {"status": 200, "body": None}
    vars(jwks).update(OUTAGES[outage])
    for _ in range(10):
        with pytest.raises(keys.KeysUnavailableError):
            remote.find("old", "EdDSA")
    assert jwks.asked == 1
    assert f"no keys from {jwks.url}: " in caplog.text
    assert "slow down" not in caplog.text, "the log does not have the answer"
    vars(jwks).update(good)
    clock.now += keys.RETRY_SECONDS
    assert remote.find("old", "EdDSA")
    vars(jwks).update(OUTAGES[outage])
    clock.now += keys.MAX_AGE_SECONDS
    for _ in range(10):
        assert remote.find("old", "EdDSA")
        clock.now += keys.RETRY_SECONDS
    assert jwks.asked == 3, "it asked the issuer again too early"
    vars(jwks).update(good)
    jwks.keys[:] = [NEW.jwk]
    clock.now += keys.COOLDOWN_SECONDS
    assert remote.find("new", "EdDSA")


def test_the_authorizer_then_fails_so_that_the_gateway_caches_no_refusal(jwks: Jwks) -> None:
    issuer = {"issuer": "i", "audience": "a", "jwks_url": jwks.url, "algorithms": ["EdDSA"]}
    handler = authorizer({"JWT_ISSUERS": json.dumps([issuer])})
    claims = {"iss": "i", "aud": "a", "sub": "alice", "exp": time.time() + 60}
    event = {"identitySource": [f"Bearer {token(OLD.header, claims, OLD.sign)}"]}
    jwks.status = 503
    with pytest.raises(Exception, match="no keys of the issuer have been fetched yet"):
        handler(event, Context())


SEED = OLD.private.private_bytes_raw()
SHORT = Key.new("RS256", "rsa", bits=1024).jwk
EC_384 = Key("ec", "ES384", ec.generate_private_key(ec.SECP384R1())).jwk

UNFIT: dict[str, object] = {
    "for encryption": OLD.jwk | {"use": "enc"},
    "for another algorithm": OLD.jwk | {"alg": "RS256"},
    "for signing alone": OLD.jwk | {"key_ops": ["sign"]},
    "with its private half": OLD.jwk | {"d": b64(SEED)},
    "of another curve": OLD.jwk | {"crv": "P-256"},
    "EC under the name of Ed25519": EC.jwk | {"crv": "Ed25519", "kty": "OKP"},
    "P-384 under the name of P-256": EC_384 | {"crv": "P-256", "alg": "ES256"},
    "RSA of 1,024 bits": SHORT,
    "RSA without a modulus": {name: RSA.jwk[name] for name in ("kty", "kid", "alg", "e")},
    "symmetric for EdDSA": {"kty": "oct", "k": "c2VjcmV0", "kid": "old", "alg": "EdDSA"},
    "without id": {name: OLD.jwk[name] for name in ("kty", "crv", "x", "alg")},
    "not base64": OLD.jwk | {"x": "!!!"},
    "a point that is not on the curve": EC.jwk | {"x": EC.jwk["y"]},
    "with a list as its type": OLD.jwk | {"kty": ["OKP"]},
    "null": None,
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_an_unfit_key_is_passed_over_and_its_neighbour_is_used(
    remote: Any, keys: Any, jwks: Jwks, unfit: str
) -> None:
    jwks.body = json.dumps({"keys": [UNFIT[unfit], NEW.jwk]}).encode()
    assert remote.find("new", "EdDSA")
    for kid in ("old", "rsa", "ec"):
        for algorithm in ("EdDSA", "RS256", "ES256", "HS256", "ES384", "PS256"):
            with pytest.raises(keys.UnknownKeyError):
                remote.find(kid, algorithm)


def test_what_an_issuer_leaves_unsaid_of_a_key_is_read_from_its_type(
    remote: Any, jwks: Jwks
) -> None:
    """Better Auth sends `alg` and no `use`, other issuers send neither; null counts as absent."""
    jwks.keys[:] = [
        {name: value for name, value in key.jwk.items() if name != "alg"} for key in (OLD, RSA, EC)
    ]
    jwks.keys.append(NEW.jwk | {"use": None, "key_ops": None})
    for key in (OLD, RSA, EC, NEW):
        assert remote.find(key.kid, key.algorithm)[0].algorithm_name == key.algorithm


def test_a_key_for_an_algorithm_that_is_not_the_issuers_is_not_kept(
    keys: Any, jwks: Jwks, clock: Clock
) -> None:
    jwks.keys[:] = [OLD.jwk, RSA.jwk]
    only = keys.RemoteKeys(jwks.url, frozenset({"RS256"}), clock=clock)
    assert only.find("rsa", "RS256")
    with pytest.raises(keys.UnknownKeyError):
        only.find("old", "EdDSA")
