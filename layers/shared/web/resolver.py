"""The one resolver of all functions: each adds its route, this settles everything around it.

In Lambda only the function's own route is registered; where all functions are imported the whole
API is, and its schema is the specification.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.api_gateway import ResponseBuilder, Route
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import TypeAdapter, ValidationError

import neon
import tasks
from web import body, identity, metrics
from web.arguments import Arguments
from web.problems import Problem, invalid, problem_of
from web.versions import NotModified

PUBLIC: list[dict[str, list[str]]] = []
"""As a route's `security`: the one way to let callers in without an identity."""

_Handler = TypeVar("_Handler", bound=Callable[..., Any])

_user_id: TypeAdapter[str] = TypeAdapter(tasks.UserId)

logger = Logger()


class Event(APIGatewayProxyEventV2):
    """A payload 2.0 event whatever is missing from it."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        context = event.get("requestContext")
        super().__init__(
            {
                **event,
                "headers": _strings(event.get("headers"), str.lower),
                "pathParameters": _strings(event.get("pathParameters")),
                "queryStringParameters": _strings(event.get("queryStringParameters")),
                "rawQueryString": _query(event.get("rawQueryString")),
                "requestContext": context if isinstance(context, Mapping) else {},
            }
        )

    @property
    def query(self) -> str:
        """The query as it was sent."""
        return str(self.raw_event["rawQueryString"])

    @property
    def route(self) -> tuple[str, str]:
        """The method and the path template that the gateway matched."""
        method, _, path = str(self.raw_event.get("routeKey", "")).partition(" ")
        return method, path

    def given(self, *, with_body: bool) -> dict[str, Mapping[str, Any]]:
        """What the request gives as arguments, by place and name. Raises a 422 for a bad body.

        The query is read as it was sent: the gateway's own reading joins repeated values by commas.
        """
        values = parse_qs(self.query, keep_blank_values=True) if self.query else {}
        return {
            "path": self.raw_event["pathParameters"],
            "query": {name: each if each[1:] else each[0] for name, each in values.items()},
            "header": self.raw_event["headers"],
            "body": {"": body.parse(body.read(self.raw_event))} if with_body else {},
        }


class Resolver(APIGatewayHttpResolver):
    """Powertools' resolver, closed by default, which answers every error as a problem.

    The gateway has matched the route and decoded the path once; both are taken from the event
    (`routeKey`, `pathParameters`), so that no second matching or decoding can disagree with it.
    A route is its handler and nothing more: there are no middlewares, and no dependencies.
    """

    current_event: Event

    def __init__(self) -> None:
        super().__init__()
        self._arguments: dict[Callable[..., Any], Arguments] = {}

    def route(self, *args: Any, **options: Any) -> Callable[[_Handler], _Handler]:
        """Add a handler's route; what its arguments are is read from its signature, once."""
        register = super().route(*args, **options)

        def registered(handler: _Handler) -> _Handler:
            self._arguments[handler] = Arguments(handler)
            return register(handler)

        return registered

    @property
    def query(self) -> str:
        """The query of the request at hand, as it was sent."""
        return self.current_event.query

    @property
    def routes(self) -> list[Route]:
        """Every route that the imported functions have added."""
        return self._static_routes + self._dynamic_routes

    def __call__(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Answer one request. Nothing that a request holds makes it raise."""
        started = time.perf_counter()
        logger.append_keys(function_request_id=context.aws_request_id)
        with neon.deadline(context.get_remaining_time_in_millis() / 1000):
            answer = self.resolve(event if isinstance(event, dict) else {}, context)
        self._record(answer["statusCode"], time.perf_counter() - started)
        return answer

    def _to_proxy_event(self, event: dict[str, Any]) -> Event:
        return Event(event)

    def _resolve(self) -> ResponseBuilder[Any]:
        """Admit the request, then run its route; the answer carries what every answer carries."""
        try:
            route = self._matched()
            self._admit(route)
            arguments = self._arguments[route.func]
            given = self.current_event.given(with_body=arguments.has_body)
            response = route.func(**arguments.of(given))
        except Exception as error:
            response = self._answer(error)
        response.headers = {
            "Cache-Control": "private, no-cache",
            "X-Content-Type-Options": "nosniff",
            "X-Request-Id": self.lambda_context.aws_request_id,
            **response.headers,
        }
        return ResponseBuilder(response)

    def _matched(self) -> Route:
        """The route that the gateway matched. Raises 404, or 405 with the methods there are."""
        method, path = self.current_event.route
        same_path = [route for route in self.routes if route.openapi_path == path]
        for route in same_path:
            if route.method == method:
                return route
        if same_path:
            allowed = ", ".join(sorted(route.method for route in same_path))
            raise Problem(405, f"Use one of: {allowed}", {"Allow": allowed})
        raise Problem(404, "There is no such path")

    def _admit(self, route: Route) -> None:
        """Identity first, then the path's owner, then the body's limits; the database last."""
        if route.security != PUBLIC:
            subject = identity.caller(self.current_event.raw_event)
            identity.require_owner(subject, self._owner())
        if self._arguments[route.func].has_body:
            body.check(self.current_event.raw_event)

    def _owner(self) -> str:
        """The path's user id. Raises a 422 for one that no user can have."""
        try:
            return _user_id.validate_python(self.current_event.path_parameters.get("user_id"))
        except ValidationError as error:
            raise invalid([{**e, "loc": ("path", "user_id")} for e in error.errors()]) from error

    def _answer(self, error: Exception) -> Response[Any]:
        if isinstance(error, NotModified):
            return Response(304, body="", headers={"ETag": error.etag})
        return problem_of(error).response(self.lambda_context.aws_request_id)

    def _record(self, status: int, seconds: float) -> None:
        """One log line and one metric record for each request, without anything it said."""
        method, path = self.current_event.route
        milliseconds = round(seconds * 1000, 1)
        logger.info("request", method=method, route=path, status=status, ms=milliseconds)
        metrics.record(f"{method} {path}" if path else "none", status, milliseconds)


def _query(value: object) -> str:
    """The query if it is text, without lone surrogates: no URL can have come with one."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _strings(value: object, name: Any = str) -> dict[str, str]:
    """The text members of what should be a mapping of texts."""
    if not isinstance(value, Mapping):
        return {}
    return {name(key): text for key, text in value.items() if isinstance(text, str)}


api = Resolver()
