"""What an HTTP API decides before and after a function: the route, who is calling, and CORS."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from local.errors import InvocationError, ThrottledError
from local.events import Answer, Request, authorizer_event, message
from local.runtime import Runtime
from local.template import Authorizer, Route

_REMEMBERED = 1000
_UNAUTHORIZED = message(401, "Unauthorized")
_FORBIDDEN = message(403, "Forbidden")


def find_route(
    routes: tuple[Route, ...], method: str, path: str
) -> tuple[Route, dict[str, str]] | None:
    """Return the most specific route for a (decoded) path, and its variables; None without one.

    A literal segment goes before a variable, that before a greedy one (`{name+}`), and a method
    before ANY. A trailing slash makes another path, and no variable is empty:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
    """
    for route in sorted(routes, key=_rank):
        if route.method in (method, "ANY") and (found := _pattern(route.path).fullmatch(path)):
            names = re.findall(r"\{([^}+]+)", route.path)
            return route, dict(zip(names, found.groups(), strict=True))
    return None


def _rank(route: Route) -> tuple[list[int], bool]:
    segments = route.path.split("/")
    return [each.startswith("{") + each.endswith("+}") for each in segments], route.method == "ANY"


@cache
def _pattern(path: str) -> re.Pattern[str]:
    segments = [
        re.escape(each) if not each.startswith("{") else "(.+)" if "+" in each else "([^/]+)"
        for each in path.split("/")
    ]
    return re.compile("/".join(segments), re.DOTALL)


class Authorizers:
    """Asks Lambda authorizers and keeps their answers, per value of the identity's headers.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._known: dict[object, tuple[float, Mapping[str, Any]]] = {}

    async def identify(
        self, authorizer: Authorizer, event: dict[str, Any]
    ) -> dict[str, Any] | Answer:
        """Return what becomes `requestContext.authorizer`, or the answer that ends the request.

        That is 401 when a header is missing (the authorizer is not asked), and 403 when it says no.
        Raises InvocationError when it fails.
        """
        identity = [event["headers"].get(name, "") for name in authorizer.headers]
        if not all(identity):
            return _UNAUTHORIZED
        # An edited authorizer is asked again: its files are others.
        key = (authorizer, *identity, self._runtime.deployed(authorizer.function).files)
        expires, verdict = self._known.get(key, (0.0, {}))
        if expires <= time.monotonic():
            verdict = await self._ask(authorizer.function, authorizer_event(event, identity))
            self._known[key] = (time.monotonic() + authorizer.ttl, verdict)
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]
        return {"lambda": verdict.get("context")} if verdict["isAuthorized"] else _FORBIDDEN

    async def _ask(self, function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            verdict = json.loads(await self._runtime.invoke(function, json.dumps(event).encode()))
        except ThrottledError as failure:  # to an HTTP API an authorizer's failures are all alike
            raise InvocationError(str(failure)) from None
        if not isinstance(verdict, dict) or not isinstance(verdict.get("isAuthorized"), bool):
            raise InvocationError(f"{function} did not answer with isAuthorized")
        return verdict


def is_preflight(request: Request) -> bool:
    """Tell whether a browser asks for permission (https://fetch.spec.whatwg.org)."""
    return (
        request.method == "OPTIONS"
        and {
            "origin",
            "access-control-request-method",
        }
        <= request.headers.keys()
    )


def with_cors(answer: Answer, cors: Mapping[str, Any], request: Request) -> Answer:
    """Return the answer with the CORS headers of the API, and never with a function's own.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
    """
    if not cors:
        return answer
    headers = [pair for pair in answer.headers if not pair[0].startswith("access-control-")]
    return Answer(answer.status, (*headers, *_cors_headers(cors, request)), answer.body)


def _cors_headers(cors: Mapping[str, Any], request: Request) -> Iterator[tuple[str, str]]:
    origin, origins = request.headers.get("origin", ""), cors.get("allowOrigins", ())
    if "*" not in origins:
        yield "vary", "Origin"  # have caches keep answers for different origins apart
    if not origin or not any(_allows(allowed, origin) for allowed in origins):
        return
    yield "access-control-allow-origin", "*" if "*" in origins else origin
    if not is_preflight(request):
        yield "access-control-expose-headers", ",".join(cors.get("exposeHeaders", ()))
        return
    yield "access-control-allow-methods", ",".join(cors.get("allowMethods", ()))
    yield "access-control-allow-headers", ",".join(cors.get("allowHeaders", ()))
    if "maxAge" in cors:
        yield "access-control-max-age", str(cors["maxAge"])


def _allows(allowed: str, origin: str) -> bool:
    """Tell whether an entry such as `*`, `https://*` or `https://my.example` is for an origin."""
    return origin.startswith(allowed[:-1]) if allowed.endswith("*") else origin == allowed
