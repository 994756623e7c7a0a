"""The OpenAPI document of all registered routes. Only the build imports this, no function."""

from __future__ import annotations

import json
from typing import Any, get_args, get_origin, get_type_hints

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Route
from aws_lambda_powertools.event_handler.openapi.models import HTTPBearer
from pydantic import BaseModel, Field

from web.problems import MEDIA_TYPE
from web.resolver import PUBLIC, Resolver

VERSION = "1.0.0"
_SCHEME = "token"
_DESCRIPTION = """Tasks of many users, each seen by its user alone.

Every task route needs `Authorization: Bearer <JWT>`; the token's `sub` is the `user_id` of the
path. Errors are `application/problem+json` and name the request id that the logs have.
"""


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


_HEADERS = {"X-Request-Id": _header("Names the request in the logs.")}
_HEADERS_OF = {
    "200": {"ETag": _header("The version.")},
    "304": {"ETag": _header("The version.")},
    "409": {"Retry-After": _header("After how many seconds another try makes sense.")},
    "201": {"ETag": _header("The version."), "Location": _header("Where the new task is.")},
    "401": {"WWW-Authenticate": _header("The challenge, with the reason if a token was sent.")},
    "503": {"Retry-After": _header("After how many seconds another try makes sense.")},
}


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


def document(api: Resolver) -> dict[str, Any]:
    """The document as plain data, every route with all that it may answer."""
    for route in api.routes:
        route.description = (route.func.__doc__ or "").strip()
        route.tags = ["tasks" if "{user_id}" in route.openapi_path else "service"]
        route.responses = {route.status_code: _success(route)} | _errors(route)
    document: dict[str, Any] = json.loads(
        api.get_openapi_json_schema(
            title="Task API",
            version=VERSION,
            description=_DESCRIPTION,
            security_schemes={_SCHEME: HTTPBearer(bearerFormat="JWT")},
            security=[{_SCHEME: []}],
        )
    )
    return _as_served(api, document)


def _success(route: Route) -> dict[str, Any]:
    """The answer's model is what the handler says that it returns."""
    model = get_type_hints(route.func)["return"]
    if get_origin(model) is Response:
        (model,) = get_args(model)
    return {"description": route.summary, "content": {"application/json": {"model": model}}}


def _errors(route: Route) -> dict[int, Any]:
    errors = {
        500: _problem("Something went wrong inside; the request id names it in the logs."),
        503: _problem("The database is not available, or a write's outcome is not known."),
    }
    if route.security != PUBLIC:
        errors[401] = _problem("No token, or one that is not valid.")
        errors[403] = _problem("The token belongs to another user than the path.")
        errors[422] = _problem("The request says something wrong.", ValidationProblem)
    if "{task_id}" in route.openapi_path:
        errors[404] = _problem("There is no such task, or it is another user's.")
    if route.method != "GET":
        errors[409] = _problem("A request with this Idempotency-Key is still running.")
    if route.method in {"PUT", "PATCH", "DELETE"}:
        errors[412] = _problem("The task no longer has the tag of If-Match; nothing was done.")
    if route.method in {"POST", "PUT"}:
        errors[413] = _problem("The body is larger than 1 MB.")
        errors[415] = _problem("The body is not said to be JSON.")
    if route.method == "GET" and route.security != PUBLIC:
        errors[304] = {"description": "The version of If-None-Match is still the current one."}
    return dict(sorted(errors.items()))


def _problem(description: str, model: type[BaseModel] = Problem) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"model": model}}}


def _as_served(api: Resolver, document: dict[str, Any]) -> dict[str, Any]:
    """Put right what Powertools says by itself: empty `security`, its own 422, and no headers."""
    for route in api.routes:
        if not route.include_in_schema:
            continue
        operation = document["paths"][route.openapi_path][route.method.lower()]
        if route.security == PUBLIC:
            operation["security"] = []
            del operation["responses"]["422"]
        for status, response in operation["responses"].items():
            response["headers"] = _HEADERS | _HEADERS_OF.get(status, {})
        operation["responses"] = dict(sorted(operation["responses"].items()))
    for name in ("HTTPValidationError", "ValidationError", "ResponseValidationError"):
        document["components"]["schemas"].pop(name, None)
    return document
