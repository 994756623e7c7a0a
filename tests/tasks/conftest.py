"""Tasks in a database of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

import neon
from tasks.database import database
from tasks.settings import Settings, settings
from tests.identity.conftest import migrate
from tests.identity.harness import use_database

CLIENTS = 64
Configure = Callable[..., Settings]


@pytest.fixture(scope="session")
def tasks_url(new_database: Callable[[], str]) -> str:
    """Return the superuser's connection string of a migrated database."""
    url = new_database()
    migrate(url)
    return url


@pytest.fixture
def url(tasks_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make `tasks` use that database."""
    monkeypatch.setenv("DATABASE_URL", tasks_url)
    forget()
    yield tasks_url
    database().close()
    forget()


def forget() -> None:
    """Make `tasks` read its settings and its database from the environment again."""
    settings.cache_clear()
    database.cache_clear()


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, url: str) -> Configure:
    """Return a function that sets environment variables which `tasks` reads."""
    assert url

    def apply(**variables: object) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.cache_clear()
        return settings()

    return apply


@pytest.fixture
def user() -> str:
    """Return a user whom no other test knows."""
    return str(uuid4())


@pytest.fixture
def crowd(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    """Return clients with a connection each, as in environments of their own."""
    own = threading.local()
    opened: list[neon.Database] = []

    def connect() -> None:
        own.database = neon.Database(url)
        opened.append(own.database)

    use_database(monkeypatch, lambda: own.database)
    with ThreadPoolExecutor(CLIENTS, initializer=connect) as pool:
        yield pool
    for each in opened:
        each.close()
