"""The handlers, imported as Lambda imports them, and events to call them with."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest import mock
from uuid import uuid4

from tests.routes import TASK_ROUTES, Route, fitting_request
from tests.running import ROOT
from web.binding import parameters

Handler = Callable[[Any, Any], Any]

EVENTS = ROOT / "events"
TASKS = "/api/{user_id}/tasks"
TASK = TASKS + "/{task_id}"


@dataclass
class Context:
    """What a handler may read of Lambda's context."""

    aws_request_id: str = field(default_factory=lambda: str(uuid4()))
    function_name: str = "under-test"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:under-test"
    remaining: float = 15.0

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds that are left, as Lambda's context does."""
        return int(self.remaining * 1000)


@cache
def modules(function: str) -> dict[str, Any]:
    """Return a function's `app` and its neighbours, imported like Lambda: with its folder first."""
    folder = ROOT / "functions" / function
    names = {path.stem for path in folder.glob("*.py")}
    with mock.patch.object(sys, "path", [str(folder), *sys.path]):
        try:
            app = importlib.import_module("app")
            return {name: sys.modules[name] for name in names if name in sys.modules} | {"app": app}
        finally:
            for name in names:  # another function has modules of the same names
                sys.modules.pop(name, None)


def handler(function: str) -> Handler:
    """Return a function's handler."""
    entry: Handler = modules(function)["app"].handler
    return entry


def taking(header: str) -> list[Route]:
    """Return the routes whose handlers take a header, by their signatures."""
    return [
        route
        for route in TASK_ROUTES
        if any(
            parameter.name == header
            for _, parameter, _ in parameters(
                modules(route.folder)["app"].handler.function
            ).values()
        )
    ]


def recorded(name: str) -> Any:
    """Return an event of the folder events/."""
    return json.loads((EVENTS / f"{name}.json").read_text())


def event(
    method: str, resource: str, *, user: str, body: object = None, **parameters: str
) -> dict[str, Any]:
    """Return the event that the gateway sends when `user` asks for their own path."""
    base: dict[str, Any] = recorded("list_tasks")
    base["routeKey"] = base["requestContext"]["routeKey"] = f"{method} {resource}"
    base["requestContext"]["http"]["method"] = method
    base["requestContext"]["authorizer"]["lambda"]["sub"] = user
    base["pathParameters"] = {"user_id": user, **parameters}
    if body is not None:
        base["body"] = json.dumps(body)
        base["headers"]["content-type"] = "application/json"
    return base


def as_sent(route: Route, user: str, task_id: str) -> dict[str, Any]:
    """Return the event of a valid request to the route."""
    parameters = {"task_id": task_id} if "{task_id}" in route.path else {}
    fitting = fitting_request(route.folder)
    sent = event(route.method, route.path, user=user, body=fitting.body, **parameters)
    sent["headers"] |= fitting.headers
    return sent | {"rawQueryString": fitting.query_string}
