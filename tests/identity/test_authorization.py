"""What an endpoint makes of an identity: it is closed by default and checks every request."""

from __future__ import annotations

import hmac
import json
import time
from typing import Any

import pytest

import neon
from deploy import template
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
from tests.routes import ROUTES as ROUTES_ALL
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
    event = event_of(function, {"user_id": "alice", "task_id": "019a9f3c"}, "not JSON")
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
def test_exp_is_checked_on_every_request_whatever_was_cached(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway would keep this verdict; only the time passes."""
    end = int(time.time()) + 600
    verdict = gateway.authorizer({"identitySource": [bearer(exp=end)]}, Context())
    event = with_authorizer("list_tasks", {"lambda": verdict["context"]})
    for now, refused in ((end - 0.001, False), (end, True), (end + 3600, True)):
        monkeypatch.setattr("web.identity.time.time", lambda now=now: now)
        answer = gateway.answer("list_tasks", event)
        assert (answer.status == 401) is refused
        if refused:
            assert answer.body["detail"] == "The token has expired"
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("sub", "path", "status"),
    [
        ("alice@b.c", "%61lice%40b%2Ec", 200),
        ("alice@b.c", "alice%2540b.c", 403),
        ("alice%40b.c", "alice%2540b.c", 200),
        ("a/b", "a%2Fb", 200),
        ("a+b", "a+b", 200),
        ("a b", "a+b", 403),
        ("\u00e9", "%C3%A9", 200),
        ("\u00e9", "e%CC%81", 403),
    ],
)
@pytest.mark.usefixtures("database")
def test_the_path_is_decoded_once_and_compared_exactly(
    gateway: Gateway, sub: str, path: str, status: int
) -> None:
    assert gateway.call("list_tasks", bearer(sub), user_id=path, raw=True).status == status


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


@pytest.mark.parametrize(
    ("function", "route", "public"), [(each.folder, each.key, each.public) for each in ROUTES_ALL]
)
def test_each_route_of_the_template_is_closed_unless_it_says_otherwise(
    function: str, route: str, public: bool
) -> None:
    declared = [each for each in vars(modules(function)["app"]).values() if isinstance(each, Route)]
    (found,) = [each for each in declared if f"{each.method} {each.path}" == route]
    assert public is not (isinstance(found, Endpoint) and not found.public)
    assert public is not found.path.startswith("/api/")


def test_the_gateway_asks_the_authorizer_by_default_and_adds_cors_headers_to_every_answer() -> None:
    """The gateway adds them to 401 and 403 too, and removes those of a handler."""
    api = template.parse(ROOT / "template.yaml")["Resources"]["Api"]["Properties"]
    assert api["Auth"]["DefaultAuthorizer"] in api["Auth"]["Authorizers"]
    cors = api["CorsConfiguration"]
    assert "authorization" in cors["AllowHeaders"]
    assert not cors.get("AllowCredentials"), (
        "scripts send the token in a header, so no cookies are needed"
    )
