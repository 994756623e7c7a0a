"""Contract part 2 with HS256: which tokens are accepted and which are refused."""

import base64
import json
import time
import uuid

import jwt
import pytest

from tests.contract.client import Client, problem
from tests.routes import ROUTES, TASK_ROUTES, Route

_PUBLIC_ROUTES = [route for route in ROUTES if route.public]


def _path(client: Client, route: Route) -> str:
    under_the_user = route.path.replace("/api/{user_id}/tasks", client.path())
    return under_the_user.replace("{user_id}", client.user).replace("{task_id}", str(uuid.uuid4()))


def _forged(client: Client, header: dict[str, object], secret: str) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signing_input = f"{part(header)}.{part({'sub': client.user, 'exp': time.time() + 600})}"
    signature = jwt.api_jws.PyJWS().get_algorithm_by_name("HS256")
    key = signature.prepare_key(secret)
    signed = base64.urlsafe_b64encode(signature.sign(signing_input.encode(), key)).rstrip(b"=")
    return f"{signing_input}.{signed.decode()}"


def test_only_three_routes_are_public_and_every_other_one_is_under_a_user() -> None:
    assert sorted(route.key for route in _PUBLIC_ROUTES) == [
        "GET /docs",
        "GET /health",
        "GET /openapi.json",
    ]
    assert all("{user_id}" in route.path for route in TASK_ROUTES)


@pytest.mark.parametrize("route", TASK_ROUTES, ids=lambda route: route.key)
def test_every_task_route_without_a_token_is_401(client: Client, route: Route) -> None:
    response = client.send(route.method, _path(client, route), headers={"Authorization": None})
    assert response.status_code == 401
    assert response.json() == {"message": "Unauthorized"}


@pytest.mark.parametrize("route", TASK_ROUTES, ids=lambda route: route.key)
@pytest.mark.parametrize(
    "kind",
    ["expired", "another secret", "unsigned", "no exp", "no sub", "garbage", "basic", "cut off"],
)
def test_every_task_route_with_a_bad_token_is_401_with_the_challenge(
    client: Client, route: Route, kind: str
) -> None:
    bad = {
        "expired": "Bearer " + client.token(exp=int(time.time()) - 1),
        "another secret": "Bearer " + Client("", "x" * 40, client.user).token(),
        "unsigned": "Bearer " + jwt.encode({"sub": client.user}, "", algorithm="none"),
        "no exp": "Bearer " + client.token(exp=None),
        "no sub": "Bearer " + client.token(sub=None),
        "garbage": "Bearer garbage",
        "basic": "Basic YWxpY2U6c2VjcmV0",
        "cut off": "Bearer " + client.token()[:-2],
    }[kind]
    headers = {"Authorization": bad}
    response = client.send(route.method, _path(client, route), headers=headers)
    assert isinstance(problem(response, 401), str)
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="invalid_token", error_description="')


@pytest.mark.parametrize("route", TASK_ROUTES, ids=lambda route: route.key)
def test_every_task_route_under_another_users_path_is_403_before_the_body_is_read(
    client: Client, route: Route
) -> None:
    path = _path(client.other(), route)
    response = client.send(route.method, path, content=b"{" if route.method in "POST PUT" else None)
    assert isinstance(problem(response, 403), str)


def test_a_token_that_names_another_algorithm_is_verified_by_the_configured_one(
    client: Client,
) -> None:
    for algorithm in ("none", "None", "NONE", "HS512", "RS256", ""):
        token = _forged(client, {"alg": algorithm, "typ": "JWT"}, client.secret)
        response = client.send("GET", client.path(), headers={"Authorization": f"Bearer {token}"})
        problem(response, 401)


def test_headers_that_bring_their_own_key_change_nothing(client: Client) -> None:
    jwk = {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 40).decode()}
    header: dict[str, object] = {
        "alg": "HS256",
        "jwk": jwk,
        "jku": "http://127.0.0.1:1/",
        "x5u": "http://127.0.0.1:1/",
    }
    token = _forged(client, header, "x" * 40)
    problem(client.send("GET", client.path(), headers={"Authorization": f"Bearer {token}"}), 401)


def test_the_schemes_case_does_not_matter(client: Client) -> None:
    for scheme in ("bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {client.token()}"}
        assert client.send("GET", client.path(), headers=headers).status_code == 200


def test_a_token_with_an_issuer_and_an_audience_is_accepted_when_none_is_configured(
    client: Client,
) -> None:
    token = client.token(iss="https://issuer.example", aud=["one", "two"], iat=int(time.time()))
    headers = {"Authorization": f"Bearer {token}"}
    assert client.send("GET", client.path(), headers=headers).status_code == 200


def test_a_token_stops_working_when_it_expires_whatever_is_cached(client: Client) -> None:
    token = client.token(exp=int(time.time()) + 2)
    headers = {"Authorization": f"Bearer {token}"}
    assert client.send("GET", client.path(), headers=headers).status_code == 200
    while (response := client.send("GET", client.path(), headers=headers)).status_code == 200:
        assert time.time() < jwt.decode(token, options={"verify_signature": False})["exp"] + 5
    assert problem(response, 401) == "The token has expired"


@pytest.mark.parametrize("route", _PUBLIC_ROUTES, ids=lambda route: route.key)
def test_the_public_routes_need_no_token(client: Client, route: Route) -> None:
    response = client.send(route.method, str(route.path), headers={"Authorization": None})
    assert response.status_code == 200
