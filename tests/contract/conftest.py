"""The contract's tests run against `make run`, or against the API that CONTRACT_URL names.

CONTRACT_URL needs JWT_SECRET, the secret that the API there accepts. Some tests read the database
or disturb it; they need CONTRACT_DATABASE_URL and use no other database.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.contract.client import Client
from tests.running import Running, running

SECRET = "a-secret-that-only-these-tests-know-0123456789"


@pytest.fixture(scope="session")
def database(new_database: Callable[[], str]) -> str:
    """Return the API's database, for tests that read or disturb it. Skip if it is not ours."""
    if "CONTRACT_DATABASE_URL" in os.environ:
        return os.environ["CONTRACT_DATABASE_URL"]
    if "CONTRACT_URL" in os.environ:
        pytest.skip("the tests may not disturb the database of CONTRACT_URL")
    return new_database()


@pytest.fixture(scope="session")
def served(database: str) -> Iterator[Running]:
    """Run the local API on a database of its own."""
    settings = {"DATABASE_URL": database, "JWT_SECRET": SECRET}
    with running(settings) as api:
        yield api


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Client:
    """Return a user of the API under test, which serves all tests."""
    url = os.environ.get("CONTRACT_URL")
    if url:
        return Client(url, os.environ["JWT_SECRET"])
    return Client(request.getfixturevalue("served").url, SECRET)


@pytest.fixture
def client(api: Client) -> Client:
    """Return a new user of the API under test."""
    return api.other()
