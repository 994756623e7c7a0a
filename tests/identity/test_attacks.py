"""Every attack of the table on one route, the gate of all routes, and tokens that are accepted."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from observability import logger
from tests.functions.handlers import Context
from tests.identity.attacks import (
    API,
    ATTACKS,
    AUTH0,
    BETTER,
    NEON,
    SHARED,
    SMOKE,
    SMOKE_SECRET,
    Build,
    World,
)
from tests.identity.harness import (
    ROUTES,
    SECRET,
    Answer,
    Gateway,
    authorizer,
    fitting_body,
    use_database,
)
from tests.identity.issuers import Jwks, Key
from web import identity

ROUTE = "update_task"  # it has an owner, an id and a body
CHOSEN = "https://chosen.example"  # may sign for alice only


def by_jwks(issuer: str, audience: str, jwks: Jwks, algorithm: str) -> dict[str, Any]:
    named = {"issuer": issuer, "audience": audience}
    return named | {"jwks_url": jwks.url, "algorithms": [algorithm]}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    ed, rsa, ec = (Key.new(name, name.lower()) for name in ("EdDSA", "RS256", "ES256"))
    with Jwks([ed.jwk]) as neon, Jwks([rsa.jwk]) as auth0, Jwks([ec.jwk]) as better:
        listed = [
            by_jwks(NEON, NEON, neon, "EdDSA"),
            by_jwks(AUTH0, API, auth0, "RS256"),
            by_jwks(BETTER, BETTER, better, "ES256"),
            {"issuer": SHARED, "audience": API, "secret": SECRET},
            {"issuer": SMOKE, "audience": API, "secret": SMOKE_SECRET, "subjects": ["smoke"]},
            {"issuer": CHOSEN, "audience": API, "secret": SMOKE_SECRET, "subjects": ["alice"]},
        ]
        ask = authorizer({"JWT_ISSUERS": json.dumps(listed)})
        yield World(ed, rsa, ec, Key.new("EdDSA", "eddsa"), Gateway(ask))


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("the database was touched")


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    use_database(monkeypatch, forbidden)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_answered_401_for_the_right_reason(
    world: World, attack: str, caplog: pytest.LogCaptureFixture
) -> None:
    build, why = ATTACKS[attack]
    authorization = build(world)
    with caplog.at_level(logging.INFO, logger=logger.service):
        answer = world.gateway.call(ROUTE, authorization, body=fitting_body(ROUTE))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token", error_desc')
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert f"refused a token: {why}" in caplog.text
    assert_says_nothing(
        answer.text + answer.headers["WWW-Authenticate"] + caplog.text, authorization
    )


def assert_says_nothing(text: str, authorization: str) -> None:
    """Check that neither the response nor the log repeats the token or tells the configuration."""
    for part in authorization.replace(".", " ").split():
        assert len(part) < 8 or part not in text
    for setting in (NEON, AUTH0, BETTER, SHARED, SMOKE, API, SECRET, SMOKE_SECRET, "localhost"):
        assert setting not in text


@pytest.mark.parametrize("function", ROUTES)
def test_every_route_has_the_same_gate(
    world: World, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the tables of attacks are sent to one route only."""

    def call(authorization: str | None, user_id: str = "alice") -> Answer:
        return world.gateway.call(function, authorization, user_id=user_id, body="{")

    assert call(None).headers["WWW-Authenticate"] == "Bearer"
    forged, _ = ATTACKS["kid of nobody"]
    assert [call(None).status, call(forged(world)).status] == [401, 401]
    good = f"Bearer {world.good()}"
    assert call(good, "bob").status == 403
    monkeypatch.setattr(identity, "require_owner", refuse("another owner"))
    assert call(good).body["detail"] == "another owner"
    monkeypatch.setattr(identity, "caller", refuse("another caller"))
    assert call(good).body["detail"] == "another caller"


def refuse(reason: str) -> Callable[..., str]:
    """Return a gate that lets nobody in."""

    def gate(*_: object) -> str:
        raise identity.unauthorized(reason)

    return gate


# --- tokens that are accepted ---------------------------------------------------------------------


GOOD: dict[str, Build] = {
    "EdDSA": World.good,
    "RS256": lambda w: w.good(w.rsa),
    "ES256": lambda w: w.good(w.ec),
    "HS256": World.shared,
    "a user that its issuer may sign for": lambda w: w.shared(SMOKE_SECRET.encode(), CHOSEN),
    "two audiences and no iat": lambda w: w.good(aud=[API, NEON], iat=..., nbf=1, error="none"),
    "a broken end": lambda w: w.good(exp=4102444800.75),
    "typ jwt": lambda w: w.head(typ="jwt"),
    "typ at+jwt": lambda w: w.head(typ="at+jwt"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_token_names_its_user_and_end(world: World, name: str) -> None:
    text = GOOD[name](world)
    for authorization in (f"Bearer {text}", f" bEaReR   {text} "):
        event = {"identitySource": [authorization]}
        context = world.gateway.authorizer(event, Context())["context"]
        assert context.keys() == {"sub", "exp", "actor"}
        assert context["sub"] == "alice"
        assert int(context["exp"]) - time.time() > 500


@pytest.mark.parametrize("source", [None, [], "Bearer x", ["Bearer x", "Bearer y"], [b"x"]])
def test_an_event_without_exactly_one_identity_source_names_nobody(
    world: World, source: object
) -> None:
    event = {} if source is None else {"identitySource": source}
    assert world.gateway.authorizer(event, Context()) == {
        "isAuthorized": True,
        "context": {"refusal": "Send one Authorization header"},
    }


# --- good tokens of others ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sub", "path"),
    [
        ("alice", "bob"),
        ("alice", "Alice"),
        ("alice ", "alice"),
        ("andr\u00e9", "andre\u0301"),
        ("al\u200bice", "alice"),
        ("a" * 255, "a" * 254),
        ("alice%40b.c", "alice@b.c"),
        ("alice@b.c", "alice%40b.c"),
        ("a b", "a+b"),
        ("bob/../alice", "alice"),
    ],
)
def test_a_valid_token_of_somebody_else_is_403_before_the_body_is_read(
    world: World, sub: str, path: str
) -> None:
    answer = world.gateway.call(
        ROUTE, f"Bearer {world.good(sub=sub)}", user_id=path, body='{"title": not even JSON'
    )
    assert answer.status == 403
    assert answer.body["detail"] == "The token belongs to another user than the path"


@pytest.mark.parametrize("path", ["a" * 256, "a\0b", ""])
def test_a_path_that_nobody_can_own_is_422_for_a_valid_token(world: World, path: str) -> None:
    sub = path if len(path) > 255 else "alice"
    answer = world.gateway.call(ROUTE, f"Bearer {world.good(sub=sub)}", user_id=path)
    assert answer.status == 422
    assert answer.body["detail"][0]["loc"] == ["path", "user_id"]
