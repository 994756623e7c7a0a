"""The layout: imports point one way, and every part is where the template says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.routes import ROUTES, Route
from tests.running import ROOT

LAYER = ROOT / "layers" / "shared"
_MODULES = {"http_client", "observability", "startup"}
MAY_IMPORT = {
    "http_client": set(),
    "secrets_manager": {"http_client"},
    "neon": {"http_client", "secrets_manager"},
    "tasks": {"neon"},
    "observability": set(),
    "startup": {"neon", "tasks"},
    "web": {"neon", "observability", "tasks"},
    "functions": {"neon", "secrets_manager", "tasks", "web", *_MODULES},
}
ROOMS = {*MAY_IMPORT, "local", "deploy", "bench", "tests"}


def _files() -> Iterator[tuple[str, Path]]:
    for path in LAYER.rglob("*.py"):
        yield path.relative_to(LAYER).parts[0].removesuffix(".py"), path
    yield from (("functions", path) for path in (ROOT / "functions").rglob("*.py"))


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("room", "path"), list(_files()), ids=lambda value: getattr(value, "stem", value)
)
def test_imports_point_one_way(room: str, path: Path) -> None:
    assert _imported(path) & (ROOMS - {room}) <= MAY_IMPORT[room]


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


def test_the_layer_knows_no_paths_of_the_api() -> None:
    for path in (LAYER / "web").glob("*.py"):
        assert "/tasks/{" not in path.read_text(), f"{path} knows a route"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_a_handler_is_thin(route: Route) -> None:
    """An endpoint of the tasks is one function, whose signature says more than its body."""
    if route.public:
        return
    app = ast.parse((ROOT / "functions" / route.folder / "app.py").read_text())
    (handler,) = (node for node in ast.walk(app) if isinstance(node, ast.FunctionDef))
    docstring, *body = handler.body
    assert isinstance(docstring, ast.Expr)
    assert sum((each.end_lineno or 0) - each.lineno + 1 for each in body) <= 3
