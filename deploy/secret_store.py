"""An environment's secrets in AWS Secrets Manager: stored, made, and forgotten.

The connection string comes from an environment variable and goes to Secrets Manager alone: it is
never an argument, a template parameter or a line of output.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import boto3

from deploy.environments import DeployError, Environment
from neon import ConfigurationError, direct_conninfo

# From variable to the template parameter that names the secret.
_URLS = {"DATABASE_URL": "DatabaseSecret", "MIGRATION_URL": "MigrationSecret"}
_JWT = "JwtSecretId"
_RECOVERY_DAYS = 7


def store(environment: Environment, given: Mapping[str, str]) -> Iterator[str]:
    """Store what is given, make the tokens' secret if there is none; says what was done.

    Raises DeployError for an unusable connection string, or where there is none yet.
    """
    client = boto3.client("secretsmanager")
    for variable, parameter in _URLS.items():
        name, url = environment.parameters.get(parameter, ""), given.get(variable, "")
        if url:
            yield _put(client, _named(name, parameter), _checked(url, variable))
        elif name and _state(client, name) != "there":
            raise DeployError(
                f"There is no secret {name} yet; run this again with {variable}=postgresql://..."
            )
    name = environment.parameters[_JWT]
    if _state(client, name) != "there":
        yield _put(client, name, secrets.token_urlsafe(48))


def forget(environment: Environment) -> Iterator[str]:
    """Delete the environment's secrets; they can be had back for a week. Says what was done."""
    client = boto3.client("secretsmanager")
    for parameter in (*_URLS.values(), _JWT):
        name = environment.parameters.get(parameter, "")
        if name and _state(client, name) == "there":
            client.delete_secret(SecretId=name, RecoveryWindowInDays=_RECOVERY_DAYS)
            yield f"{name} is deleted, for good in {_RECOVERY_DAYS} days"


def jwt_secret(environment: Environment) -> str:
    """The secret that the environment's tokens are signed with."""
    client = boto3.client("secretsmanager")
    return str(client.get_secret_value(SecretId=environment.parameters[_JWT])["SecretString"])


def _named(name: str, parameter: str) -> str:
    if not name:
        raise DeployError(f"samconfig.toml has to name the secret first: {parameter}=...")
    return name


def _checked(url: str, variable: str) -> str:
    try:
        direct_conninfo(url)
    except ConfigurationError as error:
        raise DeployError(f"{variable} cannot be used: {error}.") from None
    return url


def _state(client: Any, name: str) -> str:
    """`there`, `deleted` (for less than a week), or `none`."""
    try:
        return "deleted" if "DeletedDate" in client.describe_secret(SecretId=name) else "there"
    except client.exceptions.ResourceNotFoundException:
        return "none"


def _put(client: Any, name: str, text: str) -> str:
    """A new current version, of a new secret if there was none."""
    state = _state(client, name)
    if state == "none":
        client.create_secret(Name=name, SecretString=text)
        return f"{name} is new"
    if state == "deleted":
        client.restore_secret(SecretId=name)
    client.put_secret_value(SecretId=name, SecretString=text)
    return f"{name} has a new version"
