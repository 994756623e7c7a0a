"""Every endpoint: the routes of template.yaml, and what the functions declare for them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from samtranslator.yaml_helper import yaml_parse

if TYPE_CHECKING:
    from web.endpoint import Endpoint

ROOT = Path(__file__).resolve().parents[2]
_LAYER = str(ROOT / "layers" / "shared")


class Route(NamedTuple):
    """A route of template.yaml, and the folder of its function."""

    folder: str
    method: str
    path: str
    public: bool

    @property
    def key(self) -> str:
        """The route as its events name it."""
        return f"{self.method} {self.path}"


class Described(NamedTuple):
    """An endpoint, and the examples that its folder has for it."""

    endpoint: Endpoint
    examples: dict[str, Any]


def routes() -> list[Route]:
    """Every route of template.yaml, in its order."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    return [
        Route(
            resource["Properties"]["CodeUri"].removeprefix("functions/"),
            event["Properties"]["Method"],
            event["Properties"]["Path"],
            event["Properties"].get("Auth", {}).get("Authorizer") == "NONE",
        )
        for resource in template["Resources"].values()
        for event in resource.get("Properties", {}).get("Events", {}).values()
        if event["Type"] == "HttpApi"
    ]


def endpoints() -> list[Described]:
    """The endpoint of every route. Raises LookupError for a route that nobody serves."""
    if _LAYER not in sys.path:
        sys.path.insert(0, _LAYER)
    declared = {folder: _declared(folder) for folder in dict.fromkeys(r.folder for r in routes())}
    found = []
    for route in routes():
        if route.key not in declared[route.folder]:
            raise LookupError(f"functions/{route.folder}/app.py has no endpoint for {route.key}")
        found.append(Described(declared[route.folder][route.key], _examples(route.folder)))
    return found


def _declared(folder: str) -> dict[str, Endpoint]:
    """The endpoints that a function's app.py declares."""
    from web.endpoint import Endpoint

    return {
        f"{each.method} {each.path}": each
        for each in vars(_app(folder)).values()
        if isinstance(each, Endpoint)
    }


def _app(folder: str) -> Any:
    path = ROOT / "functions" / folder / "app.py"
    spec = importlib.util.spec_from_file_location(f"functions.{folder}.app", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _examples(folder: str) -> dict[str, Any]:
    path = ROOT / "functions" / folder / "examples.json"
    examples: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return examples
