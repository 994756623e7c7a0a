"""An environment's secrets in AWS Secrets Manager: stored, replaced, and deleted.

A secret goes from standard input to Secrets Manager, and nowhere else: never into an argument,
an environment variable, a template parameter or a line of output.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from datetime import UTC
from importlib import import_module
from pathlib import Path
from typing import Any

import boto3
import psycopg
from psycopg.conninfo import conninfo_to_dict

from deploy.database_login import close_login, open_login
from deploy.environments import DeployError, Environment

_JWT = "JwtSecretId"
_NAMES = ("DatabaseSecret", "MigrationSecret", _JWT)  # the template parameters that name secrets
_RECOVERY_DAYS = 7
_AUTHORIZER = Path(__file__).resolve().parents[1] / "functions" / "authorizer"


def store_missing(environment: Environment, ask_url: Callable[[], str]) -> Iterator[str]:
    """Store what is not there yet, and leave the rest alone; yield what was done.

    `ask_url` returns the owner's connection string. It is called only when one is missing.
    """
    if not has_connection_strings(environment):
        yield from replace(environment, ask_url())
    client = boto3.client("secretsmanager")
    if _state(client, environment.parameters[_JWT]) != "there":
        yield _put(client, environment.parameters[_JWT], _random_secret())


def replace(environment: Environment, url: str) -> Iterator[str]:
    """Store the owner's connection string, and the API's own; yield what was done.

    With `MigrationSecret`, the API gets a login of its own, which this makes in the database.
    Without it, the API connects as the owner. Raises DeployError.
    """
    client, names = boto3.client("secretsmanager"), environment.parameters
    if not names.get("MigrationSecret"):
        yield _put(client, names["DatabaseSecret"], url)
        return
    own = open_login(url, environment.name, _user(client, names["DatabaseSecret"]))
    yield _put(client, names["DatabaseSecret"], own)
    yield _put(client, names["MigrationSecret"], url)
    login = str(conninfo_to_dict(own)["user"])
    close_login(url, environment.name, login)
    yield f"The API connects as {login} from its next connection on"


def rotate_jwt(environment: Environment, secret: str = "") -> Iterator[str]:
    """Store a new version of the secret that signs tokens, random if `secret` is empty.

    The authorizer accepts the version before as well, until the next rotation. Raises DeployError
    when the authorizer would refuse to start with this secret.
    """
    if secret:
        _check_jwt_secret(secret)
    client = boto3.client("secretsmanager")
    yield _put(client, environment.parameters[_JWT], secret or _random_secret())
    yield "Tokens of the version before stay good until the next rotation"


def forget(environment: Environment) -> Iterator[str]:
    """Delete the environment's secrets, with a week to restore them; yield what was done."""
    client = boto3.client("secretsmanager")
    for name in filter(None, map(environment.parameters.get, _NAMES)):
        if _state(client, name) == "there":
            client.delete_secret(SecretId=name, RecoveryWindowInDays=_RECOVERY_DAYS)
            yield f"Secret {name} is deleted; it can be restored for {_RECOVERY_DAYS} days"


def has_connection_strings(environment: Environment) -> bool:
    """Tell whether every connection string that the environment names is stored."""
    client = boto3.client("secretsmanager")
    named = (environment.parameters.get(name) for name in ("DatabaseSecret", "MigrationSecret"))
    return all(_state(client, name) == "there" for name in named if name)


def owner_version(environment: Environment) -> str:
    """Return when the secret that Migrate reads got its current version, and the version's id.

    It is read without the secret's text. Versions sort by age.
    """
    client = boto3.client("secretsmanager")
    # Only versions that carry a label are listed, and a secret has at most 20 labels.
    for each in client.list_secret_version_ids(SecretId=environment.owner_secret)["Versions"]:
        if "AWSCURRENT" in each.get("VersionStages", []):
            stored = each["CreatedDate"].astimezone(UTC)
            return f"{stored:%Y-%m-%dT%H:%M:%SZ}/{each['VersionId']}"
    raise DeployError(f"The secret {environment.owner_secret} has no current version.")


def _random_secret() -> str:
    return secrets.token_urlsafe(48)


def _check_jwt_secret(secret: str) -> None:
    """Ask the authorizer's own rules. Raises DeployError, which does not repeat the secret."""
    sys.path.insert(0, str(_AUTHORIZER))
    settings = import_module("settings")
    try:
        settings.check_secret(secret, "The secret")
    except settings.SettingsError as error:
        raise DeployError(f"{error}.") from None


def _user(client: Any, name: str) -> str:
    """Return the user of a stored connection string; empty when there is none."""
    if _state(client, name) != "there":
        return ""
    text = client.get_secret_value(SecretId=name)["SecretString"]
    try:
        return str(conninfo_to_dict(text).get("user", ""))
    except psycopg.Error:  # a person stored something else, JSON for example
        return ""


def _state(client: Any, name: str) -> str:
    """Return `there`, `deleted` (for less than a week), or `none`."""
    try:
        return "deleted" if "DeletedDate" in client.describe_secret(SecretId=name) else "there"
    except client.exceptions.ResourceNotFoundException:
        return "none"


def _put(client: Any, name: str, text: str) -> str:
    """Store a new current version, of a new secret if there is none."""
    state = _state(client, name)
    if state == "none":
        client.create_secret(Name=name, SecretString=text)
        return f"Secret {name} is new"
    if state == "deleted":
        client.restore_secret(SecretId=name)
    client.put_secret_value(SecretId=name, SecretString=text)
    return f"Secret {name} has a new version"
