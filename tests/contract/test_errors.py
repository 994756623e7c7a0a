"""Contract part 1: odd input, unknown paths, CORS, and the form of every error."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.contract.client import Client, first_error, problem

JSON = {"Content-Type": "application/json"}
BODIES: dict[str, tuple[bytes, str, *tuple[str, ...]]] = {
    "empty": (b"", "missing"),
    "cut off": (b'{"title": "x"', "json_invalid"),
    "two values": (b"{} {}", "json_invalid"),
    "comment": (b'{"title": "x"} // a task', "json_invalid"),
    "NaN": (b'{"title": NaN}', "json_invalid"),
    "lone surrogate": (b'{"title": "\\ud800"}', "json_invalid"),
    "surrogate in an ignored member": (b'{"title": "x", "colour": "\\udfff"}', "json_invalid"),
    "invalid UTF-8": (b'{"title": "\xff\xfe"}', "json_invalid"),
    "surrogate in UTF-8": (b'{"title": "\xed\xa0\x80"}', "json_invalid"),
    "raw control character": (b'{"title": "a\nb"}', "json_invalid"),
    "20,000 brackets": (b"[" * 20_000, "json_invalid"),
    "deep but closed": (b'{"title": "x", "y": ' + b"[" * 5000 + b"]" * 5000 + b"}", "json_invalid"),
    "an array": (b'[{"title": "x"}]', "model_attributes_type"),
    "null": (b"null", "model_attributes_type"),
    "10^5000": (b'{"title": "x", "colour": 1' + b"0" * 5000 + b"}", "json_invalid"),
    "1e400": (b'{"title": 1e400, "colour": -1e400}', "string_type", "title"),
}
"""Odd bodies, the type of the error, and the member that it names, if any."""


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_json_object_or_holds_no_text_is_422(client: Client, name: str) -> None:
    body, type_, *member = BODIES[name]
    task = client.create()
    for method, path in (("POST", client.path()), ("PUT", client.path(task["id"]))):
        response = client.send(method, path, content=body, headers=JSON)
        assert first_error(response) == (type_, ["body", *member])
    assert client.send("GET", client.path()).json() == [task]


@pytest.mark.parametrize(
    ("title", "read"),
    [
        (b'"first", "title": "last"', "last"),
        (b'"\\ud83c\\udf75 \\u00e9 \\/ \\t."', "🍵 é / \t."),
    ],
)
def test_of_a_repeated_member_the_last_counts_and_escapes_are_text(
    client: Client, title: bytes, read: str
) -> None:
    body = b'{"title": ' + title + b"}"
    response = client.send("POST", client.path(), content=body, headers=JSON)
    assert response.json()["title"] == read


@pytest.mark.parametrize(
    ("media_type", "size", "status"),
    [
        ("", 999_900, 201),
        ("application/json; charset=utf-8", 999_900, 201),
        ("APPLICATION/JSON", 1, 201),
        ("application/merge-patch+json", 1, 201),
        ("text/plain", 1, 415),
        ("application/x-www-form-urlencoded", 1, 415),
        ("multipart/form-data", 1, 415),
        ("json", 1, 415),
        ("application/json", 1_000_000, 413),
    ],
)
def test_json_of_just_under_a_megabyte_is_read_and_nothing_else(
    client: Client, media_type: str, size: int, status: int
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    body = json.dumps({"title": "x", "colour": "y" * size})
    response = client.send("POST", client.path(), content=body, headers=headers)
    assert response.status_code == status
    assert status == 201 or isinstance(problem(response, status), str)


def test_a_compressed_body_is_415_and_says_what_is_accepted(client: Client) -> None:
    for coding, status in (("gzip", 415), ("br", 415), ("identity", 201)):
        response = client.send(
            "POST", client.path(), content=b'{"title": "x"}', headers={"Content-Encoding": coding}
        )
        assert response.status_code == status
        assert response.headers.get("accept-encoding") == ("identity" if status == 415 else None)


def test_a_byte_order_mark_before_the_json_is_let_pass(client: Client) -> None:
    body = b'\xef\xbb\xbf{"title": "x"}'
    assert client.send("POST", client.path(), content=body, headers=JSON).status_code == 201


NO_ROUTES = {
    "GET": "/api /nowhere /api/alice /api/alice/tasks/ /api//tasks /api/alice/tasks/1/2/3"
    " /API/alice/tasks /%2e%2e/%2e%2e/etc/passwd /api/alice/tasks/1/complete",
    "POST": "/ /api/alice/tasks/1 /health",
    "PUT": "/api/alice/tasks",
    "DELETE": "/api/alice/tasks",
    "PATCH": "/api/alice/tasks/1",
    "TRACE": "/api/alice/tasks",
}


@pytest.mark.parametrize("method", NO_ROUTES)
def test_a_route_that_does_not_exist_is_404(client: Client, method: str) -> None:
    for path in NO_ROUTES[method].split():
        response = client.send(method, path)
        assert (response.status_code, response.json()) == (404, {"message": "Not Found"}), path


def test_every_response_names_its_request_and_asks_for_https(client: Client) -> None:
    paths = (client.path(), client.path(), client.path("no-uuid"), "/docs", "/health")
    responses = [client.send("GET", path) for path in paths]
    assert len({each.headers["x-request-id"] for each in responses}) == len(paths)
    assert {each.headers["strict-transport-security"] for each in responses} == {"max-age=63072000"}


def test_100_requests_at_once_are_all_answered(client: Client) -> None:
    def create(number: int) -> httpx.Response:
        return client.send("POST", client.path(), json={"title": f"task {number}"})

    with ThreadPoolExecutor(100) as pool:
        responses = list(pool.map(create, range(100)))
    assert [response.status_code for response in responses] == [201] * 100
    assert sorted(client.titles()) == sorted(f"task {number}" for number in range(100))


def test_toggles_at_once_all_count(client: Client) -> None:
    path = client.path(client.create()["id"], "complete")
    with ThreadPoolExecutor(11) as pool:
        answers = [r.json() for r in pool.map(lambda _: client.send("PATCH", path), range(11))]
    ordered = [a["completed"] for a in sorted(answers, key=lambda a: a["updated_at"])]
    assert ordered == [number % 2 == 0 for number in range(11)]


# --- CORS, what a page from another origin may do ---

ORIGIN = "http://localhost:3000"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
HEADERS = {
    *("authorization", "content-type", "idempotency-key", "if-match", "if-none-match"),
    *("cache-control", "pragma", "x-requested-with"),
}


def _listed(response: httpx.Response, name: str) -> set[str]:
    """Return the values of a header of CORS."""
    return {value.strip() for value in response.headers[f"access-control-{name}"].split(",")}


@pytest.mark.parametrize("method", METHODS)
def test_a_preflight_of_an_allowed_origin_is_granted_without_a_token(
    client: Client, method: str
) -> None:
    headers = {"Authorization": None, "Origin": ORIGIN, "Access-Control-Request-Method": method}
    headers["Access-Control-Request-Headers"] = "authorization,content-type,if-match"
    response = client.send("OPTIONS", client.path(), headers=headers)
    assert response.status_code in (200, 204)
    assert _listed(response, "allow-origin") == {ORIGIN}
    assert _listed(response, "allow-methods") >= set(METHODS)
    assert {each.lower() for each in _listed(response, "allow-headers")} >= HEADERS


def test_responses_to_an_allowed_origin_may_be_read_errors_too(client: Client) -> None:
    for path in (client.path(), client.path("not-a-uuid"), client.path(user="somebody-else")):
        response = client.send("GET", path, headers={"Origin": ORIGIN})
        assert _listed(response, "allow-origin") == {ORIGIN}
        exposed = {each.lower() for each in _listed(response, "expose-headers")}
        assert exposed >= {"etag", "link", "location", "retry-after"}


@pytest.mark.parametrize("origin", ["http://localhost:3001", "null"])
def test_another_origin_is_granted_nothing(client: Client, origin: str) -> None:
    preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    for method, headers in (("GET", {"Origin": origin}), ("OPTIONS", preflight)):
        response = client.send(method, client.path(), headers=headers)
        assert "access-control-allow-origin" not in response.headers
