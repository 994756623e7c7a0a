"""The shared secret changes in Secrets Manager, and nobody deploys anything."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from tests.aws import SecretsManager
from tests.identity.harness import load

OLD, NEW = "o" * 40, "n" * 40


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def _token(secret: str) -> str:
    claims = {"sub": "alice", "exp": int(time.time()) + 3600}
    return "Bearer " + jwt.encode(claims, secret, algorithm="HS256")


@pytest.fixture
def authorizer() -> Iterator[dict[str, Any]]:
    """The authorizer's modules."""
    with load({"JWT_SECRET": OLD}) as modules:
        yield modules


@pytest.fixture
def clock() -> Clock:
    """One clock for the test and the verifier."""
    return Clock()


@pytest.fixture
def verifier(authorizer: dict[str, Any], secrets_manager: SecretsManager, clock: Clock) -> Any:
    """A verifier that found the old secret in Secrets Manager."""
    secrets_manager.create("jwt", OLD)
    return authorizer["rotation"].RotatingVerifier({"JWT_SECRET_ID": "jwt"}, clock=clock)


def test_the_secret_is_found_by_its_name(verifier: Any) -> None:
    assert verifier.verify(_token(OLD)).sub == "alice"


def test_a_token_of_the_new_secret_is_accepted_without_a_refused_request(
    verifier: Any, secrets_manager: SecretsManager, clock: Clock
) -> None:
    secrets_manager.change("jwt", NEW)
    clock.now += 31
    assert verifier.verify(_token(NEW)).sub == "alice"


def test_a_token_of_the_old_secret_is_refused_within_five_minutes(
    verifier: Any, authorizer: dict[str, Any], secrets_manager: SecretsManager, clock: Clock
) -> None:
    secrets_manager.change("jwt", NEW)
    clock.now += 301
    with pytest.raises(authorizer["tokens"].TokenError):
        verifier.verify(_token(OLD))


def test_bad_tokens_do_not_hammer_secrets_manager(authorizer: dict[str, Any], clock: Clock) -> None:
    asked = []

    def fetch(name: str) -> str:
        asked.append(name)
        return OLD

    settings = {"JWT_SECRET_ID": "jwt"}
    verifier = authorizer["rotation"].RotatingVerifier(settings, fetch=fetch, clock=clock)
    for _ in range(100):
        clock.now += 1
        with pytest.raises(authorizer["tokens"].TokenError):
            verifier.verify(_token("x" * 40))
    assert len(asked) == 1 + 3


@pytest.mark.parametrize("broken", ["too short", None])
def test_while_the_new_secret_is_unusable_the_old_one_stays(
    verifier: Any,
    secrets_manager: SecretsManager,
    clock: Clock,
    broken: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if broken is None:
        secrets_manager.client.delete_secret(SecretId="jwt")
    else:
        secrets_manager.change("jwt", broken)
    clock.now += 301
    with caplog.at_level(logging.WARNING):
        assert verifier.verify(_token(OLD)).sub == "alice"
    assert "stays in use" in caplog.text
    assert OLD not in caplog.text


def test_without_a_name_nothing_is_ever_looked_up(authorizer: dict[str, Any], clock: Clock) -> None:
    def fetch(_: str) -> str:
        raise AssertionError

    verifier = authorizer["rotation"].RotatingVerifier(
        {"JWT_SECRET": OLD}, fetch=fetch, clock=clock
    )
    clock.now += 301
    assert verifier.verify(_token(OLD)).sub == "alice"


@pytest.mark.usefixtures("authorizer")
def test_a_secret_that_cannot_be_read_at_the_start_stops_the_start(
    authorizer: dict[str, Any], secrets_manager: SecretsManager
) -> None:
    assert secrets_manager
    with pytest.raises(Exception, match="ResourceNotFoundException"):
        authorizer["rotation"].RotatingVerifier({"JWT_SECRET_ID": "none"})
