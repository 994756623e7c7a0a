"""The shared secret changes in Secrets Manager without a deployment."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest

from secrets_manager import SecretRefusedError
from tests.aws import SecretsManager
from tests.identity.harness import load
from tests.identity.issuers import Clock

OLD, NEW = (f"the {name} secret of the tests, 32 bytes or more" for name in ("old", "new"))
FORGED = "a secret of somebody else, 32 bytes or more"


@pytest.fixture
def authorizer() -> Iterator[dict[str, Any]]:
    """Return the authorizer's modules."""
    with load({"JWT_SECRET": OLD}) as modules:
        yield modules


@pytest.fixture
def clock() -> Clock:
    """Return the clock that test and verifier share."""
    return Clock()


def _verifier(authorizer: dict[str, Any], clock: Callable[[], float], **environment: str) -> Any:
    """A verifier with these settings, or with the secret `jwt` of Secrets Manager."""
    issuers = authorizer["settings"].from_environment(environment or {"JWT_SECRET_ID": "jwt"})
    return authorizer["tokens"].Verifier(issuers, clock=clock)


@pytest.fixture
def verifier(authorizer: dict[str, Any], secrets_manager: SecretsManager, clock: Clock) -> Any:
    """Return a verifier that has found the old secret in Secrets Manager."""
    secrets_manager.create("jwt", OLD)
    return _verifier(authorizer, clock)


@pytest.fixture
def accepts(authorizer: dict[str, Any]) -> Callable[..., bool]:
    """Return a function that tells whether a verifier takes alice's token of a secret."""

    def accepts(verifier: Any, secret: str, **changes: Any) -> bool:
        claims = {"sub": "alice", "exp": int(time.time()) + 3600} | changes
        text = jwt.encode(claims, secret, algorithm="HS256")
        try:
            return bool(verifier.verify(f"Bearer {text}").sub == "alice")
        except authorizer["tokens"].TokenError:
            return False

    return accepts


class Counted:
    """A Secrets Manager that counts its requests."""

    def __init__(self) -> None:
        self.versions = {"AWSCURRENT": OLD}
        self.asked: list[str] = []

    def __call__(self, _name: str, stage: str, _timeout: float) -> str:
        self.asked.append(stage)
        if stage not in self.versions:
            raise SecretRefusedError
        return self.versions[stage]


@pytest.fixture
def counted(authorizer: dict[str, Any]) -> Counted:
    """Return what takes the place of Secrets Manager."""
    found = Counted()
    authorizer["keys"]._get_secret = found
    return found


def test_at_a_rotation_no_token_of_the_secret_before_or_after_is_refused(
    verifier: Any, secrets_manager: SecretsManager, clock: Clock, accepts: Callable[..., bool]
) -> None:
    """None is refused right after the rotation, nor when the secret is looked up again."""
    before = verifier.actor("alice")
    secrets_manager.change("jwt", NEW)
    for _ in range(2):
        assert [accepts(verifier, secret) for secret in (OLD, NEW, OLD)] == [True] * 3
        clock.now += 301
    assert verifier.actor("alice") != before, "the alias follows the secret"


@pytest.mark.parametrize("before", [OLD, "x" * 40])
def test_an_environment_that_starts_after_a_rotation_takes_the_secret_before_unless_it_is_weak(
    authorizer: dict[str, Any],
    secrets_manager: SecretsManager,
    clock: Clock,
    accepts: Callable[..., bool],
    before: str,
) -> None:
    secrets_manager.create("jwt", before)
    secrets_manager.change("jwt", NEW)
    verifier = _verifier(authorizer, clock)
    assert accepts(verifier, before) is (before == OLD)
    assert accepts(verifier, NEW)


def test_two_rotations_end_a_secret_within_five_minutes(
    verifier: Any, secrets_manager: SecretsManager, clock: Clock, accepts: Callable[..., bool]
) -> None:
    assert accepts(verifier, OLD)
    secrets_manager.change("jwt", "in between, and as long as it has to be")
    secrets_manager.change("jwt", NEW)
    clock.now += 301
    assert not accepts(verifier, OLD)
    assert accepts(verifier, NEW)


def test_a_start_asks_for_one_version_and_a_search_for_two(
    authorizer: dict[str, Any], counted: Counted, clock: Clock, accepts: Callable[..., bool]
) -> None:
    """A second request would make every cold start longer; only a signature causes a search."""
    verifier = _verifier(authorizer, clock)
    assert accepts(verifier, OLD)
    assert not accepts(verifier, OLD, exp=1)
    assert counted.asked == ["AWSCURRENT"]
    assert not accepts(verifier, FORGED)
    assert counted.asked == ["AWSCURRENT", "AWSCURRENT", "AWSPREVIOUS"]


def test_forged_tokens_cause_one_search_a_second(
    authorizer: dict[str, Any], counted: Counted, clock: Clock, accepts: Callable[..., bool]
) -> None:
    verifier = _verifier(authorizer, clock)
    for _ in range(100):
        assert not accepts(verifier, FORGED)
        clock.now += 0.1
    assert counted.asked.count("AWSCURRENT") - 1 in (9, 10)
    counted.versions["AWSCURRENT"] = NEW
    clock.now += authorizer["keys"].SECRET_COOLDOWN_SECONDS
    assert accepts(verifier, NEW)


def test_a_search_that_fails_is_not_repeated_for_half_a_minute(
    authorizer: dict[str, Any], counted: Counted, clock: Clock, accepts: Callable[..., bool]
) -> None:
    """A search may take seconds, and honest callers would wait for it."""
    verifier = _verifier(authorizer, clock)
    counted.versions.clear()
    for _ in range(100):
        assert not accepts(verifier, FORGED)
        clock.now += 0.25
    assert len(counted.asked) == 1 + 1
    assert accepts(verifier, OLD)


@pytest.mark.parametrize("broken", ["too short", None])
def test_while_the_new_secret_is_unusable_the_old_one_stays(
    verifier: Any,
    secrets_manager: SecretsManager,
    clock: Clock,
    accepts: Callable[..., bool],
    broken: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if broken is None:
        secrets_manager.client.delete_secret(SecretId="jwt")
    else:
        secrets_manager.change("jwt", broken)
    clock.now += 301
    with caplog.at_level(logging.WARNING):
        assert accepts(verifier, OLD)
    assert "the secrets that are known stay in use" in caplog.text
    assert OLD not in caplog.text


def test_on_one_machine_the_secret_before_is_a_setting(
    authorizer: dict[str, Any], clock: Clock, accepts: Callable[..., bool]
) -> None:
    verifier = _verifier(authorizer, clock, JWT_SECRET=NEW, JWT_PREVIOUS_SECRET=OLD)
    assert accepts(verifier, OLD)
    assert accepts(verifier, NEW)


def test_a_secret_that_cannot_be_read_at_the_start_stops_the_start(
    authorizer: dict[str, Any], secrets_manager: SecretsManager
) -> None:
    assert secrets_manager
    with pytest.raises(Exception, match="ResourceNotFoundException"):
        _verifier(authorizer, time.time, JWT_SECRET_ID="none")
