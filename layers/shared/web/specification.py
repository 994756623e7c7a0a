"""The OpenAPI document of all registered routes. Only the build imports this, no function.

Powertools writes it: each route is added to a resolver of its own, with its parameters declared as
Powertools wants them.
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

from web import examples
from web.arguments import parameters
from web.problems import MEDIA_TYPE
from web.resolver import Resolver, Route

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
_SUCCESS_HEADERS = {
    "listTasks": {
        "ETag": _ETAG,
        "Link": _header("Where the next page is, if there is one.", examples.LINK),
    },
    "createTask": {
        "ETag": _ETAG,
        "Idempotency-Replayed": _REPLAYED,
        "Location": _header(
            "Where the new task is.", f"/api/{examples.USER}/tasks/{examples.TASK_ID}"
        ),
    },
    "getTask": {"ETag": _ETAG},
    "updateTask": {"ETag": _ETAG, "Idempotency-Replayed": _REPLAYED},
    "deleteTask": {"Idempotency-Replayed": _REPLAYED},
    "toggleTask": {"ETag": _ETAG, "Idempotency-Replayed": _REPLAYED},
    "health": {},
}
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
_ON_A_TASK = ("getTask", "updateTask", "toggleTask", "deleteTask")


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


def document(api: Resolver) -> dict[str, Any]:
    """The document as plain data, every route with all that it may answer."""
    routes = [route for route in api.routes if route.operation]
    described = APIGatewayHttpResolver(enable_validation=True)
    for route in routes:
        _describe(described, route)
    document: dict[str, Any] = json.loads(
        described.get_openapi_json_schema(
            title="Task API",
            version=VERSION,
            description=_DESCRIPTION,
            security_schemes={_SCHEME: HTTPBearer(bearerFormat="JWT")},
            security=[{_SCHEME: []}],
        )
    )
    return _as_served(routes, document)


def _describe(described: APIGatewayHttpResolver, route: Route) -> None:
    described.route(
        route.path.replace("{", "<").replace("}", ">"),
        route.method,
        summary=route.summary,
        description=inspect.getdoc(route.handler),
        tags=["tasks" if "{user_id}" in route.path else "service"],
        operation_id=route.operation,
        status_code=route.status,
        responses={route.status: _success(route)} | _errors(route),
    )(_signature(route))


def _signature(route: Route) -> Callable[..., Any]:
    """A function with the handler's signature, in which parameters are Powertools' own."""

    def stand_in() -> None: ...

    declared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is ... else default,
            annotation=_declared(hint),
        )
        for name, (hint, _, default) in parameters(route.handler).items()
    ]
    stand_in.__signature__ = inspect.Signature(declared)  # type: ignore[attr-defined]
    return stand_in


def _declared(hint: Any) -> Any:
    *kept, parameter = hint.__metadata__
    named = {"alias": parameter.name} if parameter.name else {}
    kind = _KINDS[parameter.place](**named, **parameter.rules)
    return Annotated[(hint.__origin__, *kept, kind)]


def _success(route: Route) -> dict[str, Any]:
    """The answer's model is what the handler says that it returns."""
    (model,) = get_args(get_type_hints(route.handler)["return"])
    return {"description": route.summary, "content": {_JSON: {"model": model}}}


def _errors(route: Route) -> dict[int, Any]:
    errors = {
        429: {
            "description": "More requests than this API takes at a time.",
            "content": {_JSON: {"model": GatewayMessage}},
        },
        500: _problem("Something went wrong inside; the request id names it in the logs."),
        503: _problem("The database is not available, or a write's outcome is not known."),
    }
    if not route.public:
        errors[401] = _problem("No token, or one that is not valid.")
        errors[403] = _problem("The token belongs to another user than the path.")
        errors[422] = _problem("The request says something wrong.", ValidationProblem)
    if "{task_id}" in route.path:
        errors[404] = _problem("There is no such task, or it is another user's.")
    if route.method != "GET":
        errors[409] = _problem("A request with this Idempotency-Key is still running.")
    if route.method in {"PUT", "PATCH", "DELETE"}:
        errors[412] = _problem("The task no longer has the tag of If-Match; nothing was done.")
    if route.method in {"POST", "PUT"}:
        errors[413] = _problem("The body is larger than 1 MB.")
        errors[415] = _problem("The body is not said to be JSON.")
    if route.method == "GET" and not route.public:
        errors[304] = {"description": "The version of If-None-Match is still the current one."}
    return dict(sorted(errors.items()))


def _problem(description: str, model: type[BaseModel] = Problem) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"model": model}}}


def _as_served(routes: list[Route], document: dict[str, Any]) -> dict[str, Any]:
    """Put right what Powertools says by itself, and add what it has no place for."""
    for route in routes:
        operation = document["paths"][route.path][route.method.lower()]
        if route.public:
            operation["security"] = []
            del operation["responses"]["422"]
        _complete_request(operation)
        for status, response in operation["responses"].items():
            _complete_response(operation["operationId"], status, response)
        operation["responses"] = dict(sorted(operation["responses"].items()))
    for name in ("HTTPValidationError", "ValidationError", "ResponseValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document


def _complete_request(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        _say_absent_not_null(parameter)
        parameter["name"] = _HEADER_NAMES.get(parameter["name"], parameter["name"])
        if parameter["name"] in _PARAMETER_EXAMPLES:
            parameter["example"] = _PARAMETER_EXAMPLES[parameter["name"]]
    if "requestBody" in operation:
        bodies = examples.REQUESTS[operation["operationId"]]
        operation["requestBody"]["content"][_JSON]["examples"] = _named(bodies)


def _say_absent_not_null(parameter: dict[str, Any]) -> None:
    """A parameter that is not given is absent: a URL or a header has no null."""
    schema = parameter["schema"]
    choices = [each for each in schema.pop("anyOf", []) if each != {"type": "null"}]
    for choice in choices:
        schema |= choice


def _complete_response(operation: str, status: str, response: dict[str, Any]) -> None:
    if status == "304":
        response.pop("content", None)
    response["headers"] = {"X-Request-Id": _REQUEST_ID} | _HEADERS_OF.get(status, {})
    if status.startswith("2"):
        response["headers"] |= _SUCCESS_HEADERS[operation]
        response["content"][_JSON]["examples"] = _named(examples.SUCCESSES[operation])
    elif MEDIA_TYPE in response.get("content", {}):
        problems = examples.problems(operation, int(status))
        response["content"][MEDIA_TYPE]["examples"] = _named(problems)
    if status in _OF_THE_GATEWAY:
        response["content"][_JSON] = {
            "schema": {"$ref": "#/components/schemas/GatewayMessage"},
            "examples": _named({"the gateway": {"message": _OF_THE_GATEWAY[status]}}),
        }
    if operation == "createTask" and status == "201":
        response["links"] = _links()


def _named(bodies: examples.Examples) -> dict[str, Any]:
    """Examples as OpenAPI has them: under a key, with a summary and a value."""
    return {
        name.replace(" ", "-").replace("'", "").replace(",", ""): {"summary": name, "value": value}
        for name, value in bodies.items()
    }


def _links() -> dict[str, Any]:
    """What can be done with a new task."""
    parameters = {"user_id": "$request.path.user_id", "task_id": "$response.body#/id"}
    return {
        operation: {"operationId": operation, "parameters": parameters} for operation in _ON_A_TASK
    }
