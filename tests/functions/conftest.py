"""The handlers under test, on a database of their own."""

import os
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tasks.database import database
from tests.functions.handlers import Context, handler

os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "task-api")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "TaskApi")
os.environ.setdefault("JWT_SECRET", "a-secret-that-only-these-tests-know-0123456789")


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[], str]) -> str:
    """Return a migrated database."""
    url = os.environ["DATABASE_URL"] = new_database()
    handler("migrate")({}, Context())
    return url


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[None]:
    """Set the database of these tests, and close every connection at the end of a test."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    database.cache_clear()
    yield
    database().close()
    database.cache_clear()


@pytest.fixture
def user() -> str:
    """Return a user whom no other test knows."""
    return f"user-{uuid4()}"
