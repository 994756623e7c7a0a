"""Every route of the API, read from template.yaml. All tests use this one list."""

from __future__ import annotations

from deploy import template
from local.specification import ROOT, Route, routes
from local.specification.requests import ExampleRequest, first_request

__all__ = ["FUNCTIONS", "ROUTES", "TASK_ROUTES", "Route", "fitting_request"]

ROUTES = routes()
TASK_ROUTES = [route for route in ROUTES if not route.public]

FUNCTIONS: dict[str, str] = {
    name: properties["CodeUri"].removeprefix("functions/")
    for name, properties in template.functions(template.parse(ROOT / "template.yaml")).items()
}
"""The folder of every function, by its name in the template."""


def fitting_request(folder: str) -> ExampleRequest:
    """Return a request that a function accepts: the first one of its examples."""
    return first_request(ROOT / "functions" / folder)
