"""What the tests of speed share with the benchmark: the contenders, and their databases."""

import fcntl
from collections.abc import Iterator

import pytest

from bench import contenders, databases
from bench.contenders import Contender
from bench.databases import Databases
from tests.running import ROOT
from tests.sam import runtime_python


@pytest.fixture(scope="session")
def built() -> dict[str, Contender]:
    """Return all contenders by name. Of two processes, the second waits and finds them built."""
    runtime_python()
    folder = ROOT / ".bench"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        contenders.runtime_client()  # which every one of them is started with
        return {each.name: each for each in contenders.build()}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """A server with the product's database and the rivals'."""
    with databases.started(tmp_path_factory.mktemp("databases")) as started:
        yield started
