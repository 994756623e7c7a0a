"""What the tests of speed share with the benchmark: the contenders, and their databases."""

from collections.abc import Iterator

import pytest

from bench import contenders, databases
from bench.contenders import Contender
from bench.databases import Databases
from tests.sam import runtime_python


@pytest.fixture(scope="session")
def built() -> dict[str, Contender]:
    """All contenders by name; those that did not change are kept from one run to the next."""
    runtime_python()
    return {each.name: each for each in contenders.build()}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """A server with the product's database and the rivals'."""
    with databases.started(tmp_path_factory.mktemp("databases")) as started:
        yield started
