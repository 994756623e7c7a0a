"""The contract is asked of a running API: of `make run`, or of whatever CONTRACT_URL names.

CONTRACT_URL needs JWT_SECRET beside it, the secret that the API there accepts. Some tests look
into the database or disturb it: only into the one that CONTRACT_DATABASE_URL names.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.contract.client import Client
from tests.running import Running, running

SECRET = "a-secret-that-only-these-tests-know-0123456789"


@pytest.fixture(scope="session")
def database(new_database: Callable[[], str]) -> str:
    """The database behind the API, for tests that look there or disturb it."""
    if "CONTRACT_DATABASE_URL" in os.environ:
        return os.environ["CONTRACT_DATABASE_URL"]
    if "CONTRACT_URL" in os.environ:
        pytest.skip("the database behind CONTRACT_URL is not ours to disturb")
    return new_database()


@pytest.fixture(scope="session")
def served(database: str) -> Iterator[Running]:
    """The local API on a database of its own."""
    settings = {"DATABASE_URL": database, "JWT_SECRET": SECRET}
    with running(settings) as api:
        yield api


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    """A new user of the API under test."""
    url = os.environ.get("CONTRACT_URL")
    if url:
        return Client(url, os.environ["JWT_SECRET"])
    return Client(request.getfixturevalue("served").url, SECRET)
