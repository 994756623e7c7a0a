"""The contract is asked of a running API: of `make run`, or of whatever CONTRACT_URL names.

CONTRACT_URL needs JWT_SECRET beside it, the secret that the API there accepts.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.contract.client import Client
from tests.running import Running, running

SECRET = "a-secret-that-only-these-tests-know-0123456789"


@pytest.fixture(scope="session")
def served(new_database: Callable[[], str]) -> Iterator[Running]:
    """The local API on a database of its own."""
    settings = {"DATABASE_URL": new_database(), "JWT_SECRET": SECRET}
    with running(**settings) as api:
        yield api


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    """A new user of the API under test."""
    url = os.environ.get("CONTRACT_URL")
    if url:
        return Client(url, os.environ["JWT_SECRET"])
    return Client(request.getfixturevalue("served").url, SECRET)
