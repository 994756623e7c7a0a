"""The decisions of an HTTP API's configuration: the route of a request, and CORS headers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from local.events import Request, Response
from local.template import Route


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


def is_preflight(request: Request) -> bool:
    """Tell whether a browser asks for permission (https://fetch.spec.whatwg.org)."""
    asked = {"origin", "access-control-request-method"}
    return request.method == "OPTIONS" and asked <= request.headers.keys()


def with_cors(response: Response, cors: Mapping[str, Any], request: Request) -> Response:
    """Return the response with the CORS headers of the API, and never with a function's own.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
    """
    if not cors:
        return response
    headers = [pair for pair in response.headers if not pair[0].startswith("access-control-")]
    return Response(response.status, (*headers, *_cors_headers(cors, request)), response.body)


def _cors_headers(cors: Mapping[str, Any], request: Request) -> Iterator[tuple[str, str]]:
    origin, origins = request.headers.get("origin", ""), cors.get("AllowOrigins", ())
    if "*" not in origins:
        yield "vary", "Origin"  # caches keep the responses to different origins apart
    if not origin or not any(_allows(allowed, origin) for allowed in origins):
        return
    yield "access-control-allow-origin", "*" if "*" in origins else origin
    if not is_preflight(request):
        yield "access-control-expose-headers", ",".join(cors.get("ExposeHeaders", ()))
        return
    yield "access-control-allow-methods", ",".join(cors.get("AllowMethods", ()))
    yield "access-control-allow-headers", ",".join(cors.get("AllowHeaders", ()))
    if "MaxAge" in cors:
        yield "access-control-max-age", str(cors["MaxAge"])


def _allows(allowed: str, origin: str) -> bool:
    """Tell whether an entry such as `*`, `https://*` or `https://my.example` is for an origin."""
    return origin.startswith(allowed[:-1]) if allowed.endswith("*") else origin == allowed
