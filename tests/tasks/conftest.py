"""Tasks in a database of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tasks.database import database
from tasks.settings import Settings, settings
from tests.identity.conftest import migrate

Configure = Callable[..., Settings]


@pytest.fixture(scope="session")
def tasks_url(new_database: Callable[[], str]) -> str:
    """A migrated database, by its superuser's connection string."""
    url = new_database()
    migrate(url)
    return url


@pytest.fixture
def url(tasks_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """That database, in use by `tasks`."""
    monkeypatch.setenv("DATABASE_URL", tasks_url)
    forget()
    yield tasks_url
    database().close()
    forget()


def forget() -> None:
    """Have the settings and the database read from the environment again."""
    settings.cache_clear()
    database.cache_clear()


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, url: str) -> Configure:
    """Set environment variables that `tasks` reads."""
    assert url

    def apply(**variables: object) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.cache_clear()
        return settings()

    return apply


@pytest.fixture
def user() -> str:
    """A user whom no other test knows."""
    return str(uuid4())
