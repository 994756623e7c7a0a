"""Toy APIs: one that many tests share, and new ones for tests that change or kill theirs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.toy import Gate, Toy, served, write


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all toys install their dependencies."""
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[Toy]:
    """A running toy, in a path with a blank in it; nobody may change its files."""
    folder = write(tmp_path_factory.mktemp("with a blank"), packages)
    with served(folder, CONCURRENCY="2", AWS_PROFILE="mine", MINE="secret") as api:
        yield api


@pytest.fixture
def folder(tmp_path: Path, packages: Path) -> Path:
    """The files of a toy of this test's own."""
    return write(tmp_path, packages)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Something that functions can be made to wait for."""
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture
def edit(folder: Path) -> Callable[[str, str, str], None]:
    """Replaces text in one of the toy's files."""

    def replace(name: str, old: str, new: str) -> None:
        content = (folder / name).read_text()
        assert old in content
        (folder / name).write_text(content.replace(old, new))

    return replace
