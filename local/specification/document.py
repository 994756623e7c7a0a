"""Make the OpenAPI document; `python -m local.specification` runs this.

Powertools makes it: each endpoint is added to a resolver of Powertools', with its parameters
declared as that resolver wants them. An endpoint's possible responses follow from its
parameters.
"""

from __future__ import annotations

import inspect
import json
import pathlib
import runpy
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, get_args, get_type_hints

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.openapi.models import (
    Contact,
    HTTPBearer,
    License,
    Server,
    Tag,
)
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Path, Query
from pydantic import BaseModel, Field

from local.specification import ROOT, routes
from local.specification.examples import REQUEST_ID, TASK, USER, of_errors, problem_types
from local.specification.requests import examples_of, first_request, requests_of
from observability import VERSION
from tasks.models import Task
from tasks.orders import Sort
from web.batch import BatchResults
from web.binding import parameters
from web.endpoint import Endpoint
from web.problems import MEDIA_TYPE, TITLES
from web.route import Route

_DOCUMENT = ROOT / "functions" / "docs" / "openapi.json"
_JSON = "application/json"
_KINDS = {"path": Path, "query": Query, "header": Header, "body": Body}
_DESCRIPTION = """Tasks of many users, each seen by its user alone.

Every task route needs `Authorization: Bearer <JWT>`; the token's `sub` is the `user_id` of the
path. Errors are `application/problem+json` and name the request id that the logs have; what the
gateway in front refuses by itself is `application/json` with a `message`.
"""
_TAGS = {"tasks": "The tasks of one user.", "service": "The service itself."}
_CHALLENGE = 'Bearer error="invalid_token", error_description="The token has expired"'
_NEXT = f'</api/{USER}/tasks?limit=2&cursor=q83vEjRWeJASNFZ4kBI0Vg>; rel="next"'
_HEADERS = {
    "X-Request-Id": ("Names the request in the logs.", REQUEST_ID),
    "ETag": ("The version, for If-Match and If-None-Match.", '"643d2f1a8b3c0"'),
    "Idempotency-Replayed": ("Says `true` when this is the answer of an earlier request.", "true"),
    "Link": ("Where the next page is, if there is one.", _NEXT),
    "Location": ("Where the new task is.", f"/api/{USER}/tasks/{TASK['id']}"),
    "Retry-After": ("After how many seconds another try makes sense.", "1"),
    "WWW-Authenticate": ("The challenge, with the reason if a token was sent.", _CHALLENGE),
}
_HEADER_OF_ERROR = {
    304: "ETag",
    401: "WWW-Authenticate",
    409: "Retry-After",
    429: "Retry-After",
    503: "Retry-After",
}
_HEADER_OF_PART = {"key": "Idempotency-Replayed", "cursor": "Link", "new": "Location"}
# Other parameters have what the first example request says: the page under /docs fills it in.
_PARAMETER_EXAMPLES = {"user_id": USER, "task_id": TASK["id"]}
# What the gateway says by itself, before a function is asked.
_OF_THE_GATEWAY = {
    401: "Unauthorized",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class FieldError(BaseModel):
    """What is wrong with one part of the request."""

    type: str = Field(examples=["string_too_short"])
    loc: list[str | int] = Field(examples=[["body", "title"]])
    msg: str = Field(examples=["String should have at least 1 character"])


# Statuses and types as enumerations, so that a generated client can tell the problems apart.
_STATUSES = sorted(TITLES.keys() - {422})


class Problem(BaseModel):
    """An error answer (RFC 9457)."""

    type: str = Field(
        examples=["/problems/not-found"], json_schema_extra={"enum": [*problem_types(_STATUSES)]}
    )
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404], json_schema_extra={"enum": [*_STATUSES]})
    detail: str = Field(examples=["Task not found"])
    instance: str = Field(description="The request id that the logs name.")
    operation: int | None = Field(
        default=None, description="Of a batch: the operation that cannot be done, from 0."
    )


class ValidationProblem(BaseModel):
    """The answer to a request that says something wrong; `detail` lists what."""

    type: Literal["/problems/unprocessable-content"]
    title: str
    status: Literal[422]
    detail: list[FieldError]
    instance: str = Field(description="The request id that the logs name.")


class GatewayMessage(BaseModel):
    """What the gateway answers by itself, without a function."""

    message: str


def document() -> dict[str, Any]:
    """Return every endpoint that has an operation, and all it may return, as plain data."""
    described = list(_endpoints())
    resolver = APIGatewayHttpResolver()
    for endpoint, folder in described:
        responses = _responses(endpoint, examples_of(folder).get("successes", {}))
        bodies = {name: each.body for name, each in requests_of(folder).items() if each.body}
        if endpoint.status == 201:
            responses[201]["links"] = _links([each for each, _ in described])
        resolver.route(
            endpoint.path.replace("{", "<").replace("}", ">"),
            endpoint.method,
            summary=endpoint.summary,
            description=inspect.getdoc(endpoint.function),
            tags=["tasks" if "{user_id}" in endpoint.path else "service"],
            operation_id=endpoint.operation,
            responses=responses,
            openapi_extensions={"security": []} if endpoint.public else None,
        )(_signature(endpoint, _named(bodies)))
    text = resolver.get_openapi_json_schema(
        title="Task API",
        version=VERSION,
        description=_DESCRIPTION,
        contact=Contact(name="Whoever runs this API"),
        license_info=License(name="MIT", identifier="MIT"),
        servers=[Server(url="/", description="Where this document is served")],
        tags=[Tag(name=name, description=text) for name, text in _TAGS.items()],
        security_schemes={"token": HTTPBearer(bearerFormat="JWT")},
        security=[{"token": []}],
    )
    first = {endpoint.operation: first_request(folder) for endpoint, folder in described}
    return _completed(json.loads(text), {o: each.query | each.headers for o, each in first.items()})


def _endpoints() -> Iterator[tuple[Endpoint, pathlib.Path]]:
    """Yield the endpoint of every route, and its folder; pages are no endpoints.

    Raise LookupError for a route that nobody serves.
    """
    for route in routes():
        folder = ROOT / "functions" / route.folder
        declared = runpy.run_path(str(folder / "app.py")).values()
        served = {f"{e.method} {e.path}": e for e in declared if isinstance(e, Route)}
        if route.key not in served:
            raise LookupError(f"functions/{route.folder}/app.py has no endpoint for {route.key}")
        endpoint = served[route.key]
        if isinstance(endpoint, Endpoint):
            yield endpoint, folder


def _parts(endpoint: Endpoint) -> set[str]:
    """Return the names of parameters and body members, with `body`, `new` and `too_slow` if so."""
    found = {"new"} if endpoint.status == 201 else set()
    found |= {"too_slow"} if endpoint.too_slow else set()
    for name, (hint, parameter, _) in parameters(endpoint.function).items():
        is_body = parameter.place == "body"
        found |= {"body", *hint.__origin__.model_fields} if is_body else {name}
    return found


def _signature(endpoint: Endpoint, bodies: dict[str, Any]) -> Callable[..., Any]:
    """Return a stand-in with the endpoint's signature, declared by Powertools' parameters."""

    def stand_in() -> None: ...

    declared = []
    for name, (hint, parameter, default) in parameters(endpoint.function).items():
        rules = {"openapi_examples": bodies} if parameter.place == "body" else parameter.rules
        kind = _KINDS[parameter.place](alias=parameter.name or None, **rules)
        annotation: Any = Annotated[(hint.__origin__, *hint.__metadata__[:-1], kind)]
        default = inspect.Parameter.empty if default is ... else default
        keyword = inspect.Parameter.KEYWORD_ONLY
        declared.append(inspect.Parameter(name, keyword, default=default, annotation=annotation))
    stand_in.__signature__ = inspect.Signature(declared)  # type: ignore[attr-defined]
    return stand_in


def _responses(endpoint: Endpoint, successes: dict[str, Any]) -> dict[int, Any]:
    """Return the responses of an endpoint; their headers follow from its model and parameters."""
    (model,) = get_args(get_type_hints(endpoint.function)["return"])
    parts = _parts(endpoint)
    if model is Task:
        successes = {name: TASK | each for name, each in successes.items()}
    if model is BatchResults:
        successes = {name: _batch_results(each) for name, each in successes.items()}
    if model == list[Task]:
        successes = {name: [TASK | task for task in each] for name, each in successes.items()}
    names = [header for part, header in _HEADER_OF_PART.items() if part in parts]
    names += ["ETag"] if model in (Task, list[Task]) else []
    success = _response(endpoint.summary, names, {_JSON: (model, successes)})
    errors = {
        status: _error(status, *error)
        for status, error in of_errors(parts, endpoint.too_slow).items()
    }
    return dict(sorted({endpoint.status: success, **errors}.items()))


def _batch_results(example: dict[str, Any]) -> dict[str, Any]:
    results = example["results"]
    return {"results": [r | {"task": r["task"] and TASK | r["task"]} for r in results]}


def _error(status: int, description: str, problems: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if problems:
        content[MEDIA_TYPE] = (ValidationProblem if status == 422 else Problem, problems)
    if message := _OF_THE_GATEWAY.get(status):
        content[_JSON] = (GatewayMessage, {"the gateway": {"message": message}})
    return _response(description, [_HEADER_OF_ERROR.get(status, "")], content)


def _response(description: str, names: list[str], content: dict[str, Any]) -> dict[str, Any]:
    headers = {
        name: {"description": text, "schema": {"type": "string"}, "example": example}
        for name, (text, example) in _HEADERS.items()
        if name in ("X-Request-Id", *names)
    }
    bodies = {
        kind: {"model": model, "examples": _named(examples)}
        for kind, (model, examples) in content.items()
    }
    return {"description": description, "headers": headers, "content": bodies}


def _named(bodies: dict[str, Any]) -> dict[str, Any]:
    """Return examples as OpenAPI has them: under a key, with a summary and a value."""
    return {
        name.replace(" ", "-").replace("'", "").replace(",", ""): {"summary": name, "value": value}
        for name, value in bodies.items()
    }


def _links(endpoints: list[Endpoint]) -> dict[str, Any]:
    """Return the links of a new task: every operation that takes its id."""
    parameters = {"user_id": "$request.path.user_id", "task_id": "$response.body#/id"}
    found = [each for each in endpoints if "task_id" in _parts(each)]
    found.sort(key=lambda endpoint: "GET PUT PATCH POST DELETE".index(endpoint.method))
    return {
        each.operation: {"operationId": each.operation, "parameters": parameters} for each in found
    }


def _completed(document: dict[str, Any], examples: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Complete the document where Powertools has no option; `examples` are of each operation."""
    for operation in (each for path in document["paths"].values() for each in path.values()):
        for parameter in operation.get("parameters", []):
            _complete(parameter, _PARAMETER_EXAMPLES | examples[operation["operationId"]])
        for response in operation["responses"].values():
            if not response["content"]:
                del response["content"]
            response |= {
                name: response.pop(name) for name in ("headers", "links") if name in response
            }
            _let_either_body_come(response.get("content", {}))
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError", "ResponseValidationError"):
        schemas.pop(name, None)
    # Of `created` and `-created` some generators would make one name.
    schemas["Sort"]["x-enum-varnames"] = [each.name for each in Sort]
    return document


def _let_either_body_come(content: dict[str, Any]) -> None:
    """Give two media types one schema: generators read the first and meet the other's body."""
    schemas = [body["schema"] for body in content.values()]
    for body in content.values() if len(schemas) > 1 else ():
        body["schema"] = {"anyOf": schemas}


def _complete(parameter: dict[str, Any], examples: dict[str, Any]) -> None:
    """Make the parameter optional instead of nullable: a URL or a header has no null."""
    schema = parameter["schema"]
    for choice in schema.pop("anyOf", []):
        schema |= choice if choice != {"type": "null"} else {}
    if parameter["in"] == "header":
        parameter["name"] = parameter["name"].title()
    if parameter["name"] in examples:
        parameter["example"] = examples[parameter["name"]]


if __name__ == "__main__":
    text = json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv[1:]:
        try:
            _DOCUMENT.write_text(text)
        except OSError as error:
            sys.exit(f"functions/docs/openapi.json cannot be written: {error.strerror}")
    elif _DOCUMENT.read_text() != text:
        sys.exit("functions/docs/openapi.json is out of date: run `make openapi`")
