"""The database's password changes, the secret follows, and no request fails."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from bench.proxy import Proxy
from bench.servers import Postgres
from neon import ConfigurationError, Database, Effect, Statement
from tests.aws import SecretsManager

WHO = Statement("SELECT session_user::text AS who")
NAME = "task-api/dev/database"


@pytest.fixture
def role(postgres: Postgres) -> Iterator[str]:
    """Make a role that logs in by password, as every role on Neon does."""
    postgres.admin("CREATE ROLE login_a LOGIN PASSWORD 'first'")
    yield "login_a"
    postgres.admin("DROP ROLE login_a")


@pytest.fixture
def database(
    role: str, postgres: Postgres, secrets_manager: SecretsManager, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """Return a connected database whose connection string is in a secret."""
    secrets_manager.create(NAME, _url(postgres, role, "first"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_SECRET", NAME)
    database = Database.from_environment()
    assert _who(database) == role
    yield database
    database.close()


def _url(postgres: Postgres, role: str, password: str) -> str:
    return f"postgresql://{role}:{quote(password)}@127.0.0.1:{postgres.port}/postgres"


def _who(database: Database) -> str:
    ((row,),) = database.run(WHO, effect=Effect.ONCE)
    return str(row["who"])


def _disconnect(postgres: Postgres, role: str) -> None:
    """End the role's sessions, as Neon does when it restarts a compute."""
    postgres.admin(
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{role}'"
    )


def test_a_changed_password_is_picked_up_at_the_next_refusal_without_a_failed_request(
    database: Database, role: str, postgres: Postgres, secrets_manager: SecretsManager
) -> None:
    secrets_manager.change(NAME, _url(postgres, role, "second"))
    postgres.admin(f"ALTER ROLE {role} PASSWORD 'second'")
    assert _who(database) == role  # the open connection goes on
    assert database.telemetry.connects == 1
    _disconnect(postgres, role)
    assert _who(database) == role
    assert database.telemetry.connects == 2
    assert database.telemetry.retries["password"] == 1


def test_a_password_that_changed_before_its_secret_is_one_clear_error(
    database: Database, role: str, postgres: Postgres, secrets_manager: SecretsManager
) -> None:
    postgres.admin(f"ALTER ROLE {role} PASSWORD 'second'")
    _disconnect(postgres, role)
    with pytest.raises(ConfigurationError, match="password authentication failed") as caught:
        _who(database)
    assert "first" not in str(caught.value)
    secrets_manager.change(NAME, _url(postgres, role, "second"))
    assert _who(database) == role  # it recovers by itself


def test_a_secret_is_fetched_again_when_a_later_attempt_is_the_refused_one(
    role: str, postgres: Postgres
) -> None:
    """The first attempt finds the database asleep, so only the second one needs the password."""
    passwords = iter(["old", "first"])
    with Proxy(postgres.port) as proxy:
        proxy.refuse("endpoint is idle")
        database = Database(
            lambda _: _url(postgres, role, next(passwords)).replace(
                str(postgres.port), str(proxy.port)
            )
        )
        assert _who(database) == role
        assert database.telemetry.retries == {"transient": 1, "password": 1}
        database.close()
