"""The contract's tests run against `make run`, or against the API that CONTRACT_URL names.

CONTRACT_URL needs JWT_SECRET, the secret that the API there accepts. Some tests read the database
or disturb it; they need CONTRACT_DATABASE_URL and use no other database.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from tests.contract.client import Client
from tests.contract.promises import asking
from tests.running import Running, running

ENOUGH = 5000
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
def thousands(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[int]]:
    """Send thousands of requests to an API of its own while other tests run."""
    folder = tmp_path_factory.mktemp("schemathesis")
    if "CONTRACT_URL" in os.environ:
        client = Client(os.environ["CONTRACT_URL"], os.environ["JWT_SECRET"])
        with asking(client, folder, ENOUGH) as made:
            yield made
        return
    settings = {"DATABASE_URL": new_database(), "JWT_SECRET": SECRET}
    with running(settings) as api, asking(Client(api.url, SECRET), folder, ENOUGH) as made:
        yield made


@pytest.fixture(scope="session", autouse=True)
def thousands_begin_early(request: pytest.FixtureRequest) -> None:
    """Start the thousands early: they take minutes and only one processor."""
    if any("thousands" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("thousands")


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    """Return a new user of the API under test."""
    url = os.environ.get("CONTRACT_URL")
    if url:
        return Client(url, os.environ["JWT_SECRET"])
    return Client(request.getfixturevalue("served").url, SECRET)
