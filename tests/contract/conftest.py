"""The contract is asked of a running API: of `make run`, or of whatever CONTRACT_URL names.

CONTRACT_URL needs JWT_SECRET beside it, the secret that the API there accepts. Some tests look
into the database or disturb it: only into the one that CONTRACT_DATABASE_URL names.
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


@pytest.fixture(scope="session")
def thousands(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[int]]:
    """Requests by the thousand, asked of an API of their own while other tests run."""
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
    """They take minutes and one processor: whoever will look at them is served by starting now."""
    if any("thousands" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("thousands")


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    """A new user of the API under test."""
    url = os.environ.get("CONTRACT_URL")
    if url:
        return Client(url, os.environ["JWT_SECRET"])
    return Client(request.getfixturevalue("served").url, SECRET)
