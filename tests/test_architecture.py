"""The house holds: imports point one way, and every room is where the template says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT

LAYER = ROOT / "layers" / "shared"
MAY_IMPORT = {
    "http_client": set(),
    "secrets_manager": {"http_client"},
    "neon": {"secrets_manager"},
    "tasks": {"neon"},
    "web": {"neon", "tasks"},
    "functions": {"http_client", "neon", "secrets_manager", "tasks", "web"},
}
ROOMS = {*MAY_IMPORT, "local", "tests"}


def _files() -> Iterator[tuple[str, Path]]:
    yield from ((path.stem, path) for path in LAYER.glob("*.py"))
    for room in ("neon", "tasks", "web"):
        yield from ((room, path) for path in (LAYER / room).rglob("*.py"))
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


def test_the_authorizer_imports_nothing_of_the_layer_but_the_way_to_its_secret() -> None:
    for path in (ROOT / "functions" / "authorizer").glob("*.py"):
        assert not _imported(path) & {"neon", "tasks", "web", "aws_lambda_powertools", "pydantic"}


def test_the_layer_knows_no_paths_of_the_api() -> None:
    for path in (LAYER / "web").glob("*.py"):
        assert "/tasks/<" not in path.read_text(), f"{path} knows a route"


def test_the_six_handlers_are_thin() -> None:
    for name in ("list", "create", "get", "update", "delete", "toggle"):
        (path,) = (ROOT / "functions").glob(f"{name}_task*/app.py")
        assert len(path.read_text().splitlines()) < 30
