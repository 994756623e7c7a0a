"""Contract part 1: CORS, what a page from another origin may do."""

import pytest

from tests.contract.client import Client

ORIGIN = "http://localhost:3000"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_preflight_of_an_allowed_origin_is_granted_without_a_token(
    client: Client, method: str
) -> None:
    headers = {
        "Authorization": None,
        "Origin": ORIGIN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,if-match",
    }
    response = client.send("OPTIONS", client.path(), headers=headers)
    assert response.status_code in (200, 204)
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert method in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    for name in (
        "authorization",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
    ):
        assert name in allowed


def test_answers_to_an_allowed_origin_may_be_read_errors_too(client: Client) -> None:
    for path in (client.path(), client.path("not-a-uuid"), client.path(user="somebody-else")):
        response = client.send("GET", path, headers={"Origin": ORIGIN})
        assert response.headers["access-control-allow-origin"] == ORIGIN
        exposed = response.headers["access-control-expose-headers"].lower()
        for name in ("etag", "link", "location", "retry-after"):
            assert name in exposed


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:3001", "null"])
def test_another_origin_is_granted_nothing(client: Client, origin: str) -> None:
    preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    answers = [
        client.send("GET", client.path(), headers={"Origin": origin}),
        client.send("OPTIONS", client.path(), headers=preflight),
    ]
    for answer in answers:
        assert "access-control-allow-origin" not in answer.headers
