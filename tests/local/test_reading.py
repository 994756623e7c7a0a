"""template.yaml as data: parameters, intrinsic functions, routes, and what cannot run here."""

from pathlib import Path

import pytest

from deploy.template import TemplateError, variable_name
from local.errors import SENTENCES
from local.http_api import find_route
from local.settings import read_settings
from local.template import Route, read_template
from tests.deploy.transformed import document, resolved, resources
from tests.running import ROOT

GOOD = {"DATABASE_URL": "postgresql://x", "JWT_SECRET": "a-secret-of-the-tests-with-32-bytes"}
# Browsers send none of these, so they would never match.
NO_ORIGINS = (
    "https://a.test/",
    "a.test",
    '["https://a.test"]',
    "https://a.test,b.test",
    "https://A.test",
)


def test_what_is_served_is_what_sam_makes_of_the_template() -> None:
    """SAM's own translation is the reference for Globals, routes, CORS and the authorizer."""
    stack = document("dev")
    values = {variable_name(name): value for name, value in stack["_values"].items()}
    environ = {name: ",".join(v) if isinstance(v, list) else v for name, v in values.items()}
    product = read_template(ROOT / "template.yaml", environ)
    for name, function in resources(stack, "AWS::Lambda::Function"):
        here, there = product.functions[name], resolved(stack, function)
        assert here.environment == there["Environment"]["Variables"]
        assert str(here.code) == there["Code"]["S3Key"]
        assert (here.handler, here.runtime) == (there["Handler"], there["Runtime"])
        assert (here.timeout, here.memory) == (there["Timeout"], there["MemorySize"])
        assert here.log_format == there["LoggingConfig"]["LogFormat"]
        assert len(here.layers) == len(there["Layers"])
    ((_, api),) = resources(stack, "AWS::ApiGatewayV2::Api")
    body = resolved(stack, api["Body"])
    assert {(route.method.lower(), route.path) for route in product.routes} == {
        (method, path) for path, methods in body["paths"].items() for method in methods
    }
    for route in product.routes:
        operation = body["paths"][route.path][route.method.lower()]
        uri = operation["x-amazon-apigateway-integration"]["uri"]
        assert f":function:{route.function}/" in uri
        assert bool(route.authorizer) == ({"Caller": []} in operation.get("security", []))
    cors = body["x-amazon-apigateway-cors"]
    assert {key.lower(): value for key, value in product.cors.items()} == {
        key.lower(): value for key, value in cors.items()
    }


def test_a_front_end_on_its_usual_port_may_call_the_api() -> None:
    product = read_template(ROOT / "template.yaml", GOOD)
    assert read_settings(ROOT, {}).port == 8000
    assert product.cors["AllowOrigins"] == ["http://localhost:3000", "http://127.0.0.1:3000"]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({**GOOD, "ARCHITECTURE": "mips"}, "ARCHITECTURE has to be one of x86_64, arm64"),
        ({**GOOD, "LIST_TIMEOUT": "11"}, "LIST_TIMEOUT has to be a number from 0.1 to 10"),
        ({**GOOD, "JWT_SECRET": "secret"}, "JWT_SECRET has to be at least 32 characters"),
        *(
            ({**GOOD, "CORS_ORIGINS": each}, "CORS_ORIGINS has to list origins")
            for each in NO_ORIGINS
        ),
    ],
)
def test_a_value_that_breaks_the_rules_is_refused_without_repeating_it(
    environ: dict[str, str], said: str
) -> None:
    with pytest.raises(TemplateError, match=f"^{said}") as refusal:
        read_template(ROOT / "template.yaml", environ)
    assert "secret" not in str(refusal.value)


def test_the_most_specific_route_wins() -> None:
    keys = [("GET", "/a/b"), ("ANY", "/a/{x}"), ("GET", "/a/{x}"), ("ANY", "/a/{rest+}")]
    routes = tuple(Route(method, path, "F", None) for method, path in keys)
    for method, path, key in [
        ("GET", "/a/b", "GET /a/b"),
        ("GET", "/a/c", "GET /a/{x}"),
        ("PUT", "/a/c", "ANY /a/{x}"),
        ("GET", "/a/c/d", "ANY /a/{rest+}"),
    ]:
        for order in (routes, routes[::-1]):
            found = find_route(order, method, path)
            assert found
            assert found[0].key == key
    assert find_route(routes, "GET", "/a/") is None


def test_a_bad_template_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for content, said in [
        ("a: [", "template.yaml is not valid YAML: "),
        (
            "Resources: {F: {Type: 'AWS::Serverless::Function', Properties: }}",
            "template.yaml cannot be read: KeyError: 'CodeUri'",
        ),
    ]:
        (tmp_path / "template.yaml").write_text(content)
        with pytest.raises(SENTENCES) as refusal:
            read_template(tmp_path / "template.yaml", GOOD)
        assert str(refusal.value).startswith(said)
