"""Which route a request takes, by the rules of an HTTP API.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html: a full
match goes before variables, variables before a greedy one, a method before ANY, and $default takes
what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from local.template import Route


@dataclass(frozen=True, slots=True)
class Match:
    """A route and the values of its path variables."""

    route: Route
    parameters: Mapping[str, str] = field(default_factory=dict)


def find_route(routes: tuple[Route, ...], method: str, path: str) -> Match | None:
    """Return the most specific route for this method and (decoded) path; None when there is none.

    A trailing slash makes another path, and a variable takes exactly one segment that is not
    empty; only a greedy `{name+}` takes more.
    """
    found = [
        (_rank(route), route, parameters)
        for route in routes
        if route.method in (method, "ANY")
        and (parameters := _parameters(route.path, path)) is not None
    ]
    if not found:
        return None
    _, route, parameters = min(found, key=lambda each: each[0])
    return Match(route, parameters)


def _rank(route: Route) -> tuple[list[int], bool]:
    if route.path is None:
        return [3], True
    return [_kind(segment) for segment in route.path.split("/")], route.method == "ANY"


def _kind(segment: str) -> int:
    if not segment.startswith("{"):
        return 0
    return 2 if segment.endswith("+}") else 1


def _parameters(pattern: str | None, path: str) -> dict[str, str] | None:
    if pattern is None:
        return {}
    values: dict[str, str] = {}
    wanted, given = pattern.split("/"), path.split("/")
    for index, segment in enumerate(wanted):
        if _kind(segment) == 2:
            values[segment[1:-2]] = "/".join(given[index:])
            return values if values[segment[1:-2]] else None
        if index >= len(given) or (_kind(segment) == 0 and segment != given[index]):
            return None
        if _kind(segment) == 1:
            if not given[index]:
                return None
            values[segment[1:-1]] = given[index]
    return values if len(wanted) == len(given) else None
