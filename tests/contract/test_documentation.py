"""Contract part 1: /openapi.json, /docs and /health."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from observability import VERSION
from tests.contract.client import Client
from tests.routes import ROUTES, TASK_ROUTES
from tests.running import Running


@pytest.fixture
def document(client: Client) -> Any:
    """Return the specification."""
    return client.send("GET", "/openapi.json", headers={"Authorization": None}).json()


def test_health_says_ok_when_the_database_responds(client: Client) -> None:
    response = client.send("GET", "/health", headers={"Authorization": None})
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_the_specification_is_valid_openapi_3_1_and_names_every_operation(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == VERSION
    validate(document)
    operations = {f"{method.upper()} {path}" for path, method, _ in _operations(document)}
    assert operations == {route.key for route in ROUTES} - {"GET /docs", "GET /openapi.json"}


def test_every_body_of_every_operation_has_examples_that_its_schema_allows(document: Any) -> None:
    bodies = list(_bodies(document))
    assert len(bodies) > 60
    for where, media in bodies:
        assert media.get("examples"), where
        for example in media["examples"].values():
            schema = media["schema"] | {"components": document["components"]}
            Draft202012Validator(schema).validate(example["value"])


def test_every_task_operation_needs_the_token_and_health_does_not(document: Any) -> None:
    assert document["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    own = [
        (path, each["security"]) for path, _, each in _operations(document) if "security" in each
    ]
    assert own == [("/health", [])]


def _operations(document: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, the method and the description of every operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _bodies(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every request and response body with its place in the specification."""
    for _, _, operation in _operations(document):
        name = operation["operationId"]
        for media in operation.get("requestBody", {}).get("content", {}).values():
            yield name, media
        for status, response in operation["responses"].items():
            for kind, media in response.get("content", {}).items():
                yield f"{name} {status} {kind}", media


def test_every_command_that_make_run_prints_succeeds(served: Running) -> None:
    commands = [line for line in served.banner if line.startswith("curl ")]
    assert len(commands) == len([r for r in TASK_ROUTES if "{task_id}" not in r.path])
    for command in commands:
        answer = subprocess.run(  # noqa: S602
            f"{command} --fail", shell=True, capture_output=True, check=True
        )
        json.loads(answer.stdout)


def test_docs_is_a_page_that_is_compressed_for_those_who_accept_it(client: Client) -> None:
    headers = {"Authorization": None, "Accept-Encoding": "gzip"}
    response = client.send("GET", "/docs", headers=headers)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-encoding"] == "gzip"
    assert int(response.headers["content-length"]) < 1_000_000
    assert "SwaggerUIBundle" in response.text
