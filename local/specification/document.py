"""The OpenAPI document of all endpoints.

Powertools writes it: each endpoint is added to a resolver of Powertools', with its parameters
declared as that resolver wants them. What an endpoint may return follows from what it takes.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_type_hints

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.openapi.models import HTTPBearer
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Path, Query
from pydantic import BaseModel, Field

from local.specification import examples
from local.specification.endpoints import Described
from tasks.models import Task
from web.binding import parameters
from web.endpoint import Endpoint
from web.problems import MEDIA_TYPE

VERSION = "1.0.0"
_JSON = "application/json"
_KINDS = {"path": Path, "query": Query, "header": Header, "body": Body}
_SCHEME = "token"
_DESCRIPTION = """Tasks of many users, each seen by its user alone.

Every task route needs `Authorization: Bearer <JWT>`; the token's `sub` is the `user_id` of the
path. Errors are `application/problem+json` and name the request id that the logs have; what the
gateway in front refuses by itself is `application/json` with a `message`.
"""


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


_ETAG = _header("The version, for If-Match and If-None-Match.", examples.ETAG)
_REPLAYED = _header("Says `true` when this is the answer of an earlier request.", "true")
_RETRY_AFTER = _header("After how many seconds another try makes sense.", "1")
_REQUEST_ID = _header("Names the request in the logs.", "5f0c8f3e-6a52-4a0e-9d7c-1f1f4f5b9a10")
_HEADERS_OF = {
    "304": {"ETag": _ETAG},
    "401": {
        "WWW-Authenticate": _header(
            "The challenge, with the reason if a token was sent.",
            'Bearer error="invalid_token", error_description="The token has expired"',
        )
    },
    "409": {"Retry-After": _RETRY_AFTER},
    "503": {"Retry-After": _RETRY_AFTER},
}
_LOCATION = _header("Where the new task is.", f"/api/{examples.USER}/tasks/{examples.TASK_ID}")
_LINK = _header("Where the next page is, if there is one.", examples.LINK)
# Of the others, the page under /docs would fill in what no second request can be sent with.
_PARAMETER_EXAMPLES = {"user_id": examples.USER, "task_id": examples.TASK_ID}

# What the gateway says by itself, before a function is asked.
_OF_THE_GATEWAY = {
    "401": "Unauthorized",
    "413": "Request Entity Too Large",
    "429": "Too Many Requests",
    "500": "Internal Server Error",
    "503": "Service Unavailable",
}
_HEADER_NAMES = {name.lower(): name for name in ("Idempotency-Key", "If-Match", "If-None-Match")}
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class FieldError(BaseModel):
    """What is wrong with one part of the request."""

    type: str = Field(examples=["string_too_short"])
    loc: list[str | int] = Field(examples=[["body", "title"]])
    msg: str = Field(examples=["String should have at least 1 character"])


class Problem(BaseModel):
    """An error answer (RFC 9457)."""

    type: str = Field(examples=["/problems/not-found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["Task not found"])
    instance: str = Field(description="The request id that the logs name.")


class ValidationProblem(BaseModel):
    """The answer to a request that says something wrong; `detail` lists what."""

    type: str = Field(examples=["/problems/unprocessable-content"])
    title: str
    status: int = Field(examples=[422])
    detail: list[FieldError]
    instance: str = Field(description="The request id that the logs name.")


class GatewayMessage(BaseModel):
    """What the gateway answers by itself, without a function."""

    message: str


def document(served: list[Described]) -> dict[str, Any]:
    """The document as plain data: every endpoint that has an operation, and all it may return."""
    described = [each for each in served if each.endpoint.operation]
    resolver = APIGatewayHttpResolver(enable_validation=True)
    for each in described:
        _describe(resolver, each.endpoint)
    document: dict[str, Any] = json.loads(
        resolver.get_openapi_json_schema(
            title="Task API",
            version=VERSION,
            description=_DESCRIPTION,
            security_schemes={_SCHEME: HTTPBearer(bearerFormat="JWT")},
            security=[{_SCHEME: []}],
        )
    )
    return _as_served(described, document)


def _describe(resolver: APIGatewayHttpResolver, endpoint: Endpoint) -> None:
    resolver.route(
        endpoint.path.replace("{", "<").replace("}", ">"),
        endpoint.method,
        summary=endpoint.summary,
        description=inspect.getdoc(endpoint.function),
        tags=["tasks" if "{user_id}" in endpoint.path else "service"],
        operation_id=endpoint.operation,
        status_code=endpoint.status,
        responses={endpoint.status: _success(endpoint)} | _errors(endpoint),
    )(_signature(endpoint))


def _signature(endpoint: Endpoint) -> Callable[..., Any]:
    """A function with the endpoint's signature, in which parameters are Powertools' own."""

    def stand_in() -> None: ...

    declared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is ... else default,
            annotation=_declared(hint),
        )
        for name, (hint, _, default) in parameters(endpoint.function).items()
    ]
    stand_in.__signature__ = inspect.Signature(declared)  # type: ignore[attr-defined]
    return stand_in


def _declared(hint: Any) -> Any:
    *kept, parameter = hint.__metadata__
    named = {"alias": parameter.name} if parameter.name else {}
    kind = _KINDS[parameter.place](**named, **parameter.rules)
    return Annotated[(hint.__origin__, *kept, kind)]


def _success(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "description": endpoint.summary,
        "content": {_JSON: {"model": _model(endpoint)}},
    }


def _model(endpoint: Endpoint) -> Any:
    """The model of a success, which is what the function says that it returns."""
    (model,) = get_args(get_type_hints(endpoint.function)["return"])
    return model


def _parts(endpoint: Endpoint) -> set[str]:
    """What the endpoint looks at in a request: its parameters, `body`, and the body's members."""
    found = set()
    for name, (hint, parameter, _) in parameters(endpoint.function).items():
        if parameter.place == "body":
            found |= {"body", *hint.__origin__.model_fields}
        else:
            found.add(name)
    return found


def _errors(endpoint: Endpoint) -> dict[int, Any]:
    parts = _parts(endpoint)
    errors = {
        429: {
            "description": "More requests than this API takes at a time.",
            "content": {_JSON: {"model": GatewayMessage}},
        },
        500: _problem("Something went wrong inside; the request id names it in the logs."),
        503: _problem("The database is not available, or a write's outcome is not known."),
    }
    if not endpoint.public:
        errors[401] = _problem("No token, or one that is not valid.")
        errors[403] = _problem("The token belongs to another user than the path.")
        errors[422] = _problem("The request says something wrong.", ValidationProblem)
    if "cursor" in parts:
        errors[503] = _problem("The database is not available, or the list takes too long.")
    if "task_id" in parts:
        errors[404] = _problem("There is no such task, or it is another user's.")
    if "key" in parts:
        errors[403] = _problem(
            "The token belongs to another user than the path, or a quota is used up."
        )
        errors.setdefault(
            404, _problem("An earlier request with this Idempotency-Key made a task that is gone.")
        )
        errors[409] = _problem("A request with this Idempotency-Key is still running.")
    if "if_match" in parts:
        errors[412] = _problem("The task no longer has the tag of If-Match; nothing was done.")
    if "body" in parts:
        errors[413] = _problem("The body is larger than 1 MB.")
        errors[415] = _problem("The body is not said to be JSON.")
    if "if_none_match" in parts:
        errors[304] = {"description": "The version of If-None-Match is still the current one."}
    return dict(sorted(errors.items()))


def _problem(description: str, model: type[BaseModel] = Problem) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"model": model}}}


def _as_served(described: list[Described], document: dict[str, Any]) -> dict[str, Any]:
    """Put right what Powertools says by itself, and add what it has no place for."""
    for endpoint, its_examples in described:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        if endpoint.public:
            operation["security"] = []
            del operation["responses"]["422"]
        _complete_request(operation, its_examples.get("requests", {}))
        for status, response in operation["responses"].items():
            _complete_error(endpoint, status, response)
        success = operation["responses"][str(endpoint.status)]
        _complete_success(endpoint, success, its_examples.get("successes", {}))
        if endpoint.status == 201:
            success["links"] = _links(described)
        operation["responses"] = dict(sorted(operation["responses"].items()))
    for name in ("HTTPValidationError", "ValidationError", "ResponseValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document


def _complete_request(operation: dict[str, Any], bodies: examples.Examples) -> None:
    for parameter in operation.get("parameters", []):
        _say_absent_not_null(parameter)
        parameter["name"] = _HEADER_NAMES.get(parameter["name"], parameter["name"])
        if parameter["name"] in _PARAMETER_EXAMPLES:
            parameter["example"] = _PARAMETER_EXAMPLES[parameter["name"]]
    if "requestBody" in operation:
        operation["requestBody"]["content"][_JSON]["examples"] = _named(bodies)


def _say_absent_not_null(parameter: dict[str, Any]) -> None:
    """A parameter that is not given is absent: a URL or a header has no null."""
    schema = parameter["schema"]
    choices = [each for each in schema.pop("anyOf", []) if each != {"type": "null"}]
    for choice in choices:
        schema |= choice


def _complete_error(endpoint: Endpoint, status: str, response: dict[str, Any]) -> None:
    if status == "304":
        response.pop("content", None)
    response["headers"] = {"X-Request-Id": _REQUEST_ID} | _HEADERS_OF.get(status, {})
    if MEDIA_TYPE in response.get("content", {}):
        problems = examples.problems(int(status), _parts(endpoint))
        response["content"][MEDIA_TYPE]["examples"] = _named(problems)
    if status in _OF_THE_GATEWAY:
        response["content"][_JSON] = {
            "schema": {"$ref": "#/components/schemas/GatewayMessage"},
            "examples": _named({"the gateway": {"message": _OF_THE_GATEWAY[status]}}),
        }


def _complete_success(
    endpoint: Endpoint, response: dict[str, Any], named: examples.Examples
) -> None:
    response["headers"] |= _success_headers(endpoint)
    response["content"][_JSON]["examples"] = _named(examples.of_model(_model(endpoint), named))


def _success_headers(endpoint: Endpoint) -> dict[str, Any]:
    """The headers beside the body: they follow from what it is and from what may be asked for."""
    parts = _parts(endpoint)
    headers = {
        "ETag": _ETAG if _model(endpoint) in (Task, list[Task]) else None,
        "Idempotency-Replayed": _REPLAYED if "key" in parts else None,
        "Link": _LINK if "cursor" in parts else None,
        "Location": _LOCATION if endpoint.status == 201 else None,
    }
    return {name: header for name, header in headers.items() if header}


def _named(bodies: examples.Examples) -> dict[str, Any]:
    """Examples as OpenAPI has them: under a key, with a summary and a value."""
    return {
        name.replace(" ", "-").replace("'", "").replace(",", ""): {"summary": name, "value": value}
        for name, value in bodies.items()
    }


def _links(described: list[Described]) -> dict[str, Any]:
    """What can be done with a new task: every operation that takes its id."""
    parameters = {"user_id": "$request.path.user_id", "task_id": "$response.body#/id"}
    on_a_task = [endpoint for endpoint, _ in described if "task_id" in _parts(endpoint)]
    on_a_task.sort(key=lambda endpoint: _METHODS.index(endpoint.method))
    return {
        each.operation: {"operationId": each.operation, "parameters": parameters}
        for each in on_a_task
    }
