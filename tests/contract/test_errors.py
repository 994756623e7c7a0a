"""Contract part 1: odd input, unknown paths, and the form of every error."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.contract.client import Client, first_error, problem

JSON = {"Content-Type": "application/json"}
BODIES = {
    "empty": (b"", "missing"),
    "white space": (b" \n", "missing"),
    "cut off": (b'{"title": "x"', "json_invalid"),
    "no JSON": (b"title=x", "json_invalid"),
    "two values": (b"{} {}", "json_invalid"),
    "single quotes": (b"{'title': 'x'}", "json_invalid"),
    "trailing comma": (b'{"title": "x",}', "json_invalid"),
    "comment": (b'{"title": "x"} // a task', "json_invalid"),
    "NaN": (b'{"title": NaN}', "json_invalid"),
    "NaN in an ignored member": (b'{"title": "x", "colour": NaN}', "json_invalid"),
    "Infinity": (b'{"title": "x", "colour": -Infinity}', "json_invalid"),
    "lone surrogate": (b'{"title": "\\ud800"}', "json_invalid"),
    "reversed surrogates": (b'{"title": "\\udc00\\ud800"}', "json_invalid"),
    "surrogate in an ignored member": (b'{"title": "x", "colour": "\\udfff"}', "json_invalid"),
    "invalid UTF-8": (b'{"title": "\xff\xfe"}', "json_invalid"),
    "overlong UTF-8": (b'{"title": "\xc0\xaf"}', "json_invalid"),
    "surrogate in UTF-8": (b'{"title": "\xed\xa0\x80"}', "json_invalid"),
    "UTF-16": ('{"title": "x"}'.encode("utf-16"), "json_invalid"),
    "raw control character": (b'{"title": "a\nb"}', "json_invalid"),
    "20,000 brackets": (b"[" * 20_000, "json_invalid"),
    "20,000 nested objects": (b'{"title": ' * 20_000, "json_invalid"),
    "deep but closed": (b'{"title": "x", "y": ' + b"[" * 5000 + b"]" * 5000 + b"}", "json_invalid"),
    "an array": (b'[{"title": "x"}]', "model_attributes_type"),
    "an empty array": (b"[]", "model_attributes_type"),
    "null": (b"null", "model_attributes_type"),
    "a string": (b'"title"', "model_attributes_type"),
    "a number": (b"5", "model_attributes_type"),
    "true": (b"true", "model_attributes_type"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_json_object_is_422(client: Client, name: str) -> None:
    body, type_ = BODIES[name]
    task = client.create()
    for method, path in (("POST", client.path()), ("PUT", client.path(task["id"]))):
        response = client.send(method, path, content=body, headers=JSON)
        assert first_error(response) == (type_, ["body"])
    assert client.send("GET", client.path()).json() == [task]


def test_a_repeated_member_counts_once_the_last_one(client: Client) -> None:
    body = b'{"title": "first", "title": "last"}'
    response = client.send("POST", client.path(), content=body, headers=JSON)
    assert response.json()["title"] == "last"


def test_valid_escapes_and_pairs_of_surrogates_are_text(client: Client) -> None:
    body = b'{"title": "\\ud83c\\udf75 \\u00e9 \\/ \\t."}'
    response = client.send("POST", client.path(), content=body, headers=JSON)
    assert response.json()["title"] == "🍵 é / \t."


@pytest.mark.parametrize(
    "media_type",
    ["", "application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json"],
)
def test_json_of_just_under_a_megabyte_is_read_and_none_is_the_default(
    client: Client, media_type: str
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    body = json.dumps({"title": "x", "colour": "y" * 999_900})
    response = client.send("POST", client.path(), content=body, headers=headers)
    assert response.status_code == 201


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
)
def test_a_body_of_another_media_type_is_415(client: Client, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    response = client.send("POST", client.path(), content=b'{"title": "x"}', headers=headers)
    assert isinstance(problem(response, 415), str)


def test_a_body_of_more_than_a_megabyte_is_413(client: Client) -> None:
    body = json.dumps({"title": "x", "colour": "y" * 1_000_000})
    response = client.send("POST", client.path(), content=body, headers=JSON)
    assert isinstance(problem(response, 413), str)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("GET", "/api"),
        ("GET", "/nowhere"),
        ("GET", "/api/alice"),
        ("GET", "/api/alice/tasks/"),
        ("GET", "/api//tasks"),
        ("GET", "/api/alice/tasks/1/2/3"),
        ("GET", "/API/alice/tasks"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd"),
        ("PUT", "/api/alice/tasks"),
        ("DELETE", "/api/alice/tasks"),
        ("POST", "/api/alice/tasks/1"),
        ("PATCH", "/api/alice/tasks/1"),
        ("GET", "/api/alice/tasks/1/complete"),
        ("TRACE", "/api/alice/tasks"),
        ("POST", "/health"),
    ],
)
def test_a_route_that_does_not_exist_is_404(client: Client, method: str, path: str) -> None:
    response = client.send(method, path)
    assert response.status_code == 404
    assert response.json() == {"message": "Not Found"}


def test_every_answer_names_its_request(client: Client) -> None:
    first, second = client.send("GET", client.path()), client.send("GET", client.path())
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_no_error_answer_tells_anything_about_the_inside(client: Client) -> None:
    secrets = ("select", "insert", "psycopg", "postgres", "traceback", ".py", "pydantic")
    answers = [
        client.send("POST", client.path(), json={"title": "x" * 501}),
        client.send("POST", client.path(), content=b"{", headers=JSON),
        client.send("GET", client.path("not-a-uuid")),
        client.send("GET", client.path(uuid.uuid4())),
        client.send("GET", client.path(user="\x00")),
    ]
    for answer in answers:
        assert not any(word in answer.text.lower() for word in secrets), answer.text


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
