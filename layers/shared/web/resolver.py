"""The one resolver of all functions: each adds its route, this settles everything around it.

In Lambda only the function's own route is registered; where all functions are imported the whole
API is, and its schema is the specification. The gateway has matched the route and decoded the path
once; both are taken from its event, so that no second matching or decoding can disagree with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partialmethod
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

import neon
import tasks
from web import body, identity, record
from web.arguments import Arguments
from web.messages import Request, Response
from web.problems import Problem, invalid, problem_of
from web.versions import NotModified

_COMMON = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
_user_id: TypeAdapter[str] = TypeAdapter(tasks.UserId)

Handler = Callable[..., Response[Any]]
H = TypeVar("H", bound=Handler)


class Context(Protocol):
    """What is asked of Lambda's context."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int: ...


class Route(NamedTuple):
    """A method and a path (`/api/{user_id}/tasks`), and who answers it.

    Only a `public` route lets callers in without an identity. One without an `operation` is not in
    the specification.
    """

    method: str
    path: str
    handler: Handler
    arguments: Arguments
    summary: str
    operation: str
    status: int
    public: bool


class Resolver:
    """Closed by default, and every error is answered as a problem."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        """Every route that the imported functions have added."""
        self._request = Request({})

    def route(
        self,
        method: str,
        path: str,
        *,
        summary: str = "",
        operation: str = "",
        status: int = 200,
        public: bool = False,
    ) -> Callable[[H], H]:
        """Add a handler's route; its arguments are read from its signature, once."""

        def add(handler: H) -> H:
            arguments = Arguments(handler)
            self.routes.append(
                Route(method, path, handler, arguments, summary, operation, status, public)
            )
            return handler

        return add

    get = partialmethod(route, "GET")
    post = partialmethod(route, "POST")
    put = partialmethod(route, "PUT")
    patch = partialmethod(route, "PATCH")
    delete = partialmethod(route, "DELETE")

    @property
    def query(self) -> str:
        """The query of the request at hand, as it was sent."""
        return self._request.query

    def __call__(self, event: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Answer one request. Nothing that a request holds makes it raise."""
        started = time.perf_counter()
        self._request = request = Request(event if isinstance(event, dict) else {})
        with neon.deadline(context.get_remaining_time_in_millis() / 1000):
            answer = self._answer(request, context.aws_request_id)
        milliseconds = (time.perf_counter() - started) * 1000
        record.write(context.aws_request_id, request.route, answer.status, milliseconds)
        return answer.payload(_COMMON | {"X-Request-Id": context.aws_request_id})

    def _answer(self, request: Request, request_id: str) -> Response[Any]:
        """Admit the request, then run its route."""
        try:
            route = self._matched(request)
            _admit(request, route)
            given = request.given()
            if route.arguments.has_body:
                content_type = request.headers.get("content-type", "")
                given["body"] = {"": body.parse(body.read(request.event), content_type)}
            return route.handler(**route.arguments.of(given))
        except NotModified as known:
            return Response(304, None, "", {"ETag": known.etag})
        except Exception as error:
            return problem_of(error, request_id).response(request_id)

    def _matched(self, request: Request) -> Route:
        """The route that the gateway matched. Raises 404, or 405 with the methods there are."""
        method, _, path = request.route.partition(" ")
        same_path = [route for route in self.routes if route.path == path]
        for route in same_path:
            if route.method == method:
                return route
        if same_path:
            allowed = ", ".join(sorted(route.method for route in same_path))
            raise Problem(405, f"Use one of: {allowed}", {"Allow": allowed})
        raise Problem(404, "There is no such path")


def _admit(request: Request, route: Route) -> None:
    """Identity first, then the path's owner; then come the body and, last, the database."""
    if not route.public:
        subject = identity.caller(request.event)
        identity.require_owner(subject, _owner(request))


def _owner(request: Request) -> str:
    """The path's user id. Raises a 422 for one that no user can have."""
    try:
        return _user_id.validate_python(request.path_parameters.get("user_id"))
    except ValidationError as error:
        raise invalid([{**e, "loc": ("path", "user_id")} for e in error.errors()]) from error


api = Resolver()
