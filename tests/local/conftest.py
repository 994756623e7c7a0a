"""Toy APIs: one that many tests share, and a new one for each test that changes or kills it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.toy import Gate, Toy, served, write


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where all toys install their dependencies."""
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[Toy]:
    """Run the shared toy, in a path with a blank; nobody may change its files."""
    folder = write(tmp_path_factory.mktemp("with a blank"), packages)
    with served(folder, CONCURRENCY="2", AWS_PROFILE="mine", MINE="secret") as api:
        yield api


@pytest.fixture
def folder(tmp_path: Path, packages: Path) -> Path:
    """Write a toy for this test alone, and return its folder."""
    return write(tmp_path, packages)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a gate where functions can be made to wait."""
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture
def edit(folder: Path) -> Callable[[str, str, str], None]:
    """Return a function that replaces text in one of the toy's files."""

    def replace(name: str, old: str, new: str) -> None:
        content = (folder / name).read_text()
        assert old in content
        (folder / name).write_text(content.replace(old, new))

    return replace
