"""An environment's secrets go to Secrets Manager and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.environments import DeployError, Environment, read_environment
from deploy.secret_store import forget, jwt_secret, store
from tests.aws import SecretsManager
from tests.running import ROOT

URL = "postgresql://owner:hush@ep-x-1-pooler.eu-central-1.aws.neon.tech/tasks?sslmode=require"
DATABASE, JWT = "task-api/dev/database", "task-api/dev/jwt"


@pytest.fixture
def dev() -> Environment:
    """The environment dev, as samconfig.toml has it."""
    return read_environment(ROOT / "samconfig.toml", "dev")


def test_a_connection_string_is_all_that_a_first_deployment_needs(
    dev: Environment, secrets_manager: SecretsManager
) -> None:
    said = list(store(dev, {"DATABASE_URL": URL}))
    assert said == [f"{DATABASE} is new", f"{JWT} is new"]
    assert secrets_manager.text(DATABASE) == URL
    assert len(jwt_secret(dev)) >= 32


def test_the_next_deployment_needs_nothing_and_changes_nothing(
    dev: Environment, secrets_manager: SecretsManager
) -> None:
    list(store(dev, {"DATABASE_URL": URL}))
    before = secrets_manager.text(JWT)
    assert list(store(dev, {})) == []
    assert secrets_manager.text(JWT) == before


def test_a_changed_connection_string_becomes_a_new_version_of_the_secret(
    dev: Environment, secrets_manager: SecretsManager
) -> None:
    list(store(dev, {"DATABASE_URL": URL}))
    said = list(store(dev, {"DATABASE_URL": URL.replace("hush", "new")}))
    assert said == [f"{DATABASE} has a new version"]
    assert secrets_manager.text(DATABASE) == URL.replace("hush", "new")


@pytest.mark.usefixtures("secrets_manager")
def test_without_a_connection_string_the_first_deployment_says_what_is_missing(
    dev: Environment,
) -> None:
    with pytest.raises(DeployError, match=r"no secret task-api/dev/database yet.*DATABASE_URL="):
        list(store(dev, {}))


@pytest.mark.usefixtures("secrets_manager")
@pytest.mark.parametrize("url", ["mysql://u:hush@h/db", URL.replace("require", "disable")])
def test_an_unusable_connection_string_is_refused_and_not_shown(dev: Environment, url: str) -> None:
    with pytest.raises(DeployError, match="DATABASE_URL cannot be used") as caught:
        list(store(dev, {"DATABASE_URL": url}))
    assert "hush" not in str(caught.value)


def test_forgotten_secrets_can_be_had_back_for_a_week_and_stored_again(
    dev: Environment, secrets_manager: SecretsManager
) -> None:
    list(store(dev, {"DATABASE_URL": URL}))
    said = list(forget(dev))
    assert said == [f"{name} is deleted, for good in 7 days" for name in (DATABASE, JWT)]
    assert list(forget(dev)) == []
    with pytest.raises(DeployError, match="no secret"):
        list(store(dev, {}))
    list(store(dev, {"DATABASE_URL": URL}))
    assert secrets_manager.text(DATABASE) == URL


@pytest.mark.usefixtures("secrets_manager")
def test_a_string_for_migrations_needs_a_name_for_its_secret(dev: Environment) -> None:
    with pytest.raises(DeployError, match="MigrationSecret="):
        list(store(dev, {"DATABASE_URL": URL, "MIGRATION_URL": URL}))


def test_an_environment_that_is_not_there_is_named_beside_those_that_are() -> None:
    with pytest.raises(DeployError, match="'test'; ENV is one of dev, staging, prod"):
        read_environment(Path("samconfig.toml"), "test")


def test_the_command_line_shows_no_secret(aws_endpoint: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "deploy", "secrets", "dev"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": URL, "PYTHONPATH": str(ROOT / "layers" / "shared")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"{DATABASE} is new\n{JWT} is new\n"
    assert result.stderr == ""
    assert SecretsManager(aws_endpoint).text(DATABASE) == URL
