"""Every route of the API, read from template.yaml. All tests use this one list."""

from __future__ import annotations

import json
from typing import Any

from deploy import template
from local.specification import ROOT, Route, routes

__all__ = ["FUNCTIONS", "ROUTES", "TASK_ROUTES", "Route", "fitting_body"]

ROUTES = routes()
TASK_ROUTES = [route for route in ROUTES if not route.public]

FUNCTIONS: dict[str, str] = {
    name: properties["CodeUri"].removeprefix("functions/")
    for name, properties in template.functions(template.parse(ROOT / "template.yaml")).items()
}
"""The folder of every function, by its name in the template."""


def fitting_body(folder: str) -> Any:
    """Return the first request of a function's examples, or None if the function takes no body."""
    path = ROOT / "functions" / folder / "examples.json"
    examples = json.loads(path.read_text()) if path.exists() else {}
    return next(iter(examples.get("requests", {}).values()), None)
