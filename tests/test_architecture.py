"""The layout: imports point one way in every room, without circles and without path tricks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.routes import ROUTES, Route
from tests.running import ROOT

LAYER = ROOT / "layers" / "shared"
_MODULES = {
    *("cloudformation_response", "http_client", "jwt_secret", "lambda_environment"),
    *("observability", "startup"),
}
_LAYER_ROOMS = {"neon", "secrets_manager", "tasks", "web", *_MODULES}
# Everything else points along `functions -> web -> tasks -> neon`. Nothing of the product imports
# `local`, `deploy`, `bench` or `tests`.
MAY_IMPORT = {
    "cloudformation_response": {"http_client"},
    "http_client": set(),
    "jwt_secret": set(),
    "lambda_environment": set(),
    "secrets_manager": {"http_client"},
    "neon": {"http_client", "lambda_environment", "secrets_manager"},
    "tasks": {"neon"},
    "observability": set(),
    "startup": {"lambda_environment", "tasks"},
    "web": {"neon", "observability", "tasks"},
    "functions": _LAYER_ROOMS,
    "local": _LAYER_ROOMS | {"deploy"},
    "deploy": _LAYER_ROOMS,
    "bench": _LAYER_ROOMS | {"local"},
    "tests": _LAYER_ROOMS | {"local", "deploy", "bench"},
}
FOLDERS = [ROOT / room for room in ("local", "deploy", "bench", "tests")]


def _files() -> Iterator[tuple[str, Path]]:
    for path in LAYER.rglob("*.py"):
        yield path.relative_to(LAYER).parts[0].removesuffix(".py"), path
    for folder in (ROOT / "functions", *FOLDERS):
        yield from ((folder.name, path) for path in folder.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Return the modules that a file imports, and the names that it imports from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def _imported(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    files = [path for each, path in _files() if each == room]
    assert files
    for path in files:
        assert _imported(path) & (MAY_IMPORT.keys() - {room}) <= MAY_IMPORT[room], path


def test_the_authorizer_imports_nothing_of_the_layer_that_needs_the_database() -> None:
    for path in (ROOT / "functions" / "authorizer").glob("*.py"):
        assert not _imported(path) & {"neon", "tasks", "web", "pydantic"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_an_endpoint_imports_startup_first_and_ends_with_the_end_of_init(route: Route) -> None:
    app = ast.parse((ROOT / "functions" / route.folder / "app.py").read_text())
    first = next(iter(_of_the_layer(app)))
    assert first == "startup"
    assert ast.unparse(app.body[-1]).startswith("startup.finish(")


def _of_the_layer(app: ast.Module) -> Iterator[str]:
    """Yield the parts of the layer that a module imports, in its order."""
    for node in app.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name for name in names if name.partition(".")[0] in MAY_IMPORT)
