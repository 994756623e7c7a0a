"""Contract part 1: /openapi.json, /docs and /health."""

import re

import httpx
from openapi_spec_validator import validate

from tests.contract.client import Client


def _public(client: Client, path: str) -> httpx.Response:
    return client.send("GET", path, headers={"Authorization": None})


def test_health_says_ok_when_the_database_answers(client: Client) -> None:
    response = _public(client, "/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_the_specification_is_valid_openapi_3_1(client: Client) -> None:
    document = _public(client, "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_the_specification_names_every_operation_and_its_answers(client: Client) -> None:
    paths = _public(client, "/openapi.json").json()["paths"]
    operations = {
        f"{method.upper()} {path}": sorted(operation["responses"])
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    always = ["401", "403", "422", "500", "503"]
    one = "/api/{user_id}/tasks/{task_id}"
    seen, written, changed, sent = ["304"], ["409"], ["404", "409", "412"], ["413", "415"]
    assert operations == {
        "GET /api/{user_id}/tasks": sorted(["200", *seen, *always]),
        "POST /api/{user_id}/tasks": sorted(["201", *written, *sent, *always]),
        f"GET {one}": sorted(["200", "404", *seen, *always]),
        f"PUT {one}": sorted(["200", *changed, *sent, *always]),
        f"DELETE {one}": sorted(["200", *changed, *always]),
        f"PATCH {one}/complete": sorted(["200", *changed, *always]),
        "GET /health": ["200", "500", "503"],
    }


def test_docs_is_a_page_that_asks_no_other_host_for_anything(client: Client) -> None:
    response = _public(client, "/docs")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    outside = re.findall(
        r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"'](https?:)?//", response.text
    )
    assert outside == []
    assert "SwaggerUIBundle" in response.text


def test_docs_is_compressed_for_those_who_accept_it(client: Client) -> None:
    headers = {"Authorization": None, "Accept-Encoding": "gzip"}
    response = client.send("GET", "/docs", headers=headers)
    assert response.headers["content-encoding"] == "gzip"
    assert int(response.headers["content-length"]) < 1_000_000
    assert "SwaggerUIBundle" in response.text
