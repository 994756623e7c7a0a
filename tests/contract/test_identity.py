"""Contract part 2 with HS256: which tokens are accepted and which are refused."""

import time
import uuid
from collections.abc import Callable

import jwt
import pytest

from tests.contract.client import Client, problem
from tests.routes import TASK_ROUTES, Route


def _path(client: Client, route: Route) -> str:
    under_the_user = route.path.replace("/api/{user_id}/tasks", client.path())
    return under_the_user.replace("{user_id}", client.user).replace("{task_id}", str(uuid.uuid4()))


@pytest.mark.parametrize("route", TASK_ROUTES, ids=lambda route: route.key)
def test_every_task_route_without_a_token_is_401(client: Client, route: Route) -> None:
    response = client.send(route.method, _path(client, route), headers={"Authorization": None})
    assert response.status_code == 401
    assert response.json() == {"message": "Unauthorized"}


BAD: dict[str, Callable[[Client], str]] = {
    "expired": lambda client: "Bearer " + client.token(exp=int(time.time()) - 1),
    "another secret": lambda client: "Bearer " + Client("", "x" * 40, client.user).token(),
    "unsigned": lambda client: "Bearer " + jwt.encode({"sub": client.user}, "", algorithm="none"),
    "basic": lambda _: "Basic YWxpY2U6c2VjcmV0",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_401_with_the_challenge(client: Client, kind: str) -> None:
    """tests/identity has all kinds, and shows that every route has the same gate."""
    response = client.send("GET", client.path(), headers={"Authorization": BAD[kind](client)})
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


def test_a_token_stops_working_when_it_expires_whatever_is_cached(client: Client) -> None:
    token = client.token(exp=int(time.time()) + 2)
    headers = {"Authorization": f"Bearer {token}"}
    assert client.send("GET", client.path(), headers=headers).status_code == 200
    while (response := client.send("GET", client.path(), headers=headers)).status_code == 200:
        assert time.time() < jwt.decode(token, options={"verify_signature": False})["exp"] + 5
    assert problem(response, 401) == "The token has expired"


@pytest.mark.parametrize("path", ["/docs", "/health", "/openapi.json"])
def test_the_public_routes_need_no_token(client: Client, path: str) -> None:
    response = client.send("GET", path, headers={"Authorization": None})
    assert response.status_code == 200
