"""What an endpoint makes of an identity: it is closed by default and checks every request."""

from __future__ import annotations

import hmac
import json
import time
from typing import Any

import pytest

import neon
from deploy import template
from tests import routes
from tests.functions.handlers import Context, modules
from tests.identity.harness import (
    ROUTES,
    SECRET,
    Gateway,
    authorizer,
    event_of,
    use_database,
)
from tests.identity.issuers import hs256, token
from tests.running import ROOT
from web import identity
from web.endpoint import Endpoint
from web.route import Route

FAR = "4102444800"


class Empty:
    """A database without rows that counts its statements."""

    def __init__(self) -> None:
        self.asked = 0

    def run(self, *statements: neon.Statement, **_: object) -> list[list[neon.Row]]:
        self.asked += 1
        return [[] for _ in statements]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Empty:
    empty = Empty()
    use_database(monkeypatch, lambda: empty)
    return empty


@pytest.fixture(scope="module")
def gateway() -> Gateway:
    return Gateway(authorizer({"JWT_SECRET": SECRET}))


def bearer(
    sub: str = "alice", exp: float = float(FAR), *, secret: str = SECRET, **claims: object
) -> str:
    payload: dict[str, object] = {"sub": sub, "exp": exp, **claims}
    return "Bearer " + token({"alg": "HS256"}, payload, hs256(secret.encode()))


def with_authorizer(function: str, authorizer: object) -> dict[str, Any]:
    """Return an event under alice's path, with whatever the gateway's authorizer said."""
    event = event_of(function, "alice", "019a9f3c", "not JSON")
    event["requestContext"]["authorizer"] = authorizer
    return event


NOBODY: dict[str, object] = {
    "no authorizer": {},
    "a text": "alice",
    "IAM": {"iam": {"userId": "alice"}},
    "a context without its name": {"sub": "alice", "exp": FAR},
    "lambda refused beside claims": {
        "lambda": {"refusal": "no"},
        "jwt": {"claims": {"sub": "alice", "exp": FAR}},
    },
    "a refusal beside a user": {"lambda": {"refusal": "no", "sub": "alice", "exp": FAR}},
    "jwt without claims": {"jwt": {"sub": "alice", "exp": FAR}},
    "claims without exp": {"jwt": {"claims": {"sub": "alice"}}},
    **{
        f"sub {sub!r}": {"lambda": {"sub": sub, "exp": FAR}}
        for sub in (None, "", 1, ["alice"], "alice\0")
    },
    **{
        f"exp {exp!r}": {"lambda": {"sub": "alice", "exp": exp}}
        for exp in (None, "nan", "1e999", True, [FAR], "0", "9" * 5000)
    },
    **{
        f"nbf {nbf!r}": {"lambda": {"sub": "alice", "exp": FAR, "nbf": nbf}}
        for nbf in (FAR, None, "soon", "-inf", True)
    },
}


@pytest.mark.parametrize("case", NOBODY)
def test_without_a_valid_identity_a_route_is_closed(
    gateway: Gateway, database: Empty, case: str
) -> None:
    answer = gateway.answer("update_task", with_authorizer("update_task", NOBODY[case]))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.body["detail"]
    assert database.asked == 0


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "alice", "exp": "4.1024448E9", "nbf": "1700000000"},
        {"sub": "alice", "exp": int(FAR), "refusal": "a claim of the token's own", "actor": "bob"},
    ],
)
def test_the_gateways_own_jwt_authorizer_is_understood(
    gateway: Gateway, database: Empty, claims: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    event = with_authorizer("list_tasks", {"jwt": {"claims": claims, "scopes": None}})
    assert gateway.answer("list_tasks", event).status == 200
    assert database.asked == 1
    assert actors(capsys) == {"unknown"}, "only our authorizer names an alias"


def actors(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Return the aliases in the lines of the requests so far."""
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return {line["actor"] for line in lines if line.get("message") == "request"}


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("claim", "early", "before", "after"),
    [
        ("exp", 0, "", "The token has expired"),
        ("nbf", 5, "The token is not valid yet", ""),
        ("iat", 5, "The token is not valid yet", ""),
    ],
)
def test_a_verdict_that_the_gateway_keeps_is_checked_against_the_time_of_each_request(
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    claim: str,
    early: int,
    before: str,
    after: str,
) -> None:
    named = int(time.time()) + 600
    changes: dict[str, Any] = {claim: named}
    verdict = gateway.authorizer({"identitySource": [bearer(**changes)]}, Context())
    event = with_authorizer("list_tasks", {"lambda": verdict["context"]})
    turn = named - early
    for now, refusal in ((turn - 0.1, before), (turn, after), (turn + 3600, after)):
        monkeypatch.setattr("web.identity.time.time", lambda now=now: now)
        answer = gateway.answer("list_tasks", event)
        assert answer.status == (401 if refusal else 200)
        if refusal:
            assert answer.body["detail"] == refusal
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("sub", ["alice@b.c", "alice%40b.c", "a/b", "a+b", "\u00e9"])
def test_the_path_is_decoded_once_and_compared_exactly(gateway: Gateway, sub: str) -> None:
    """The gateway has decoded it."""
    assert gateway.call("list_tasks", bearer(sub), user_id=sub).status == 200


@pytest.mark.usefixtures("database")
def test_user_and_path_are_compared_in_constant_time(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def spy(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return hmac.compare_digest(left, right)

    monkeypatch.setattr(identity, "hmac", type("Spied", (), {"compare_digest": staticmethod(spy)}))
    assert gateway.call("list_tasks", bearer("\u00e9"), user_id="\u00e9").status == 200
    assert compared == [("\u00e9".encode(), "\u00e9".encode())]


@pytest.mark.usefixtures("database")
def test_what_a_refusal_says_cannot_break_out_of_its_header(gateway: Gateway) -> None:
    event = with_authorizer("list_tasks", {"lambda": {"refusal": 'a"b\\c\r\nSet-Cookie: x=\u00e9'}})
    answer = gateway.answer("list_tasks", event)
    expected = 'Bearer error="invalid_token", error_description="abcSet-Cookie: x="'
    assert answer.headers["WWW-Authenticate"] == expected


# --- the alias for the log -----------------------------------------------------------------------


def actor(authorization: str, **settings: str) -> str:
    """Return the alias that an authorizer with these settings gives to the caller."""
    handler = authorizer({"JWT_SECRET": SECRET, **settings})
    alias: str = handler({"identitySource": [authorization]}, Context())["context"]["actor"]
    return alias


def test_an_alias_tells_users_apart_and_follows_from_a_secret_that_no_log_holds() -> None:
    alias = actor(bearer())
    assert alias == actor(bearer()) != actor(bearer("bob"))
    assert len(bytes.fromhex(alias)) == 8
    neighbour = "the neighbour's secret of 32 bytes or more"
    theirs = bearer(secret=neighbour, iss="them")
    assert alias != actor(theirs, JWT_SECRET=neighbour)
    listed = [{"issuer": "them", "audience": "a", "secret": neighbour}]
    both = {"JWT_ISSUER": "us", "JWT_ISSUERS": json.dumps(listed)}
    signed = bearer(secret=neighbour, iss="them", aud="a")
    assert actor(bearer(iss="us"), **both) == actor(signed, **both), "one user, one alias"


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("function", ROUTES)
def test_the_line_of_every_request_names_the_user_by_the_authorizers_alias(
    gateway: Gateway, function: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ("alice", "bob"):
        gateway.call(function, bearer(), user_id=path, body="{}")
    assert actors(capsys) == {actor(bearer())}


# --- the template --------------------------------------------------------------------------------


@pytest.mark.parametrize("route", routes.ROUTES, ids=lambda route: route.key)
def test_each_route_of_the_template_is_closed_unless_it_says_otherwise(route: routes.Route) -> None:
    declared = [
        each for each in vars(modules(route.folder)["app"]).values() if isinstance(each, Route)
    ]
    (found,) = [each for each in declared if f"{each.method} {each.path}" == route.key]
    assert route.public is not (isinstance(found, Endpoint) and not found.public)
    assert route.public is not found.path.startswith("/api/")


def test_no_browser_sends_cookies_along() -> None:
    """Scripts send the token in a header."""
    api = template.parse(ROOT / "template.yaml")["Resources"]["Api"]["Properties"]
    assert not api["CorsConfiguration"].get("AllowCredentials")
