"""An environment's secrets in AWS Secrets Manager: stored, replaced, and deleted.

A secret goes from standard input to Secrets Manager, and nowhere else: never into an argument,
an environment variable, a template parameter or a line of output.
"""

import secrets
from contextlib import suppress
from datetime import UTC
from typing import Any

import boto3

import jwt_secret
from deploy.database import check_connection_string, end_logins, new_login
from deploy.environments import DeployError, Environment, ask, confirm
from neon import ConfigurationError, parse_conninfo

_JWT = "JwtSecretId"
_CONNECTION_STRINGS = ("DatabaseSecret", "MigrationSecret")  # template parameters, as is _JWT
_RECOVERY_DAYS = 7


def replace_connection_strings(environment: Environment) -> None:
    """Ask for the owner's connection string, and for a yes where it replaces customers' one."""
    url = ask_owner_url()
    if has_connection_strings(environment):
        confirm(environment, "This replaces the connection strings.")
    store_connection_strings(environment, url)
    store_missing(environment)


def ask_owner_url() -> str:
    """Ask for the owner's connection string. Raise DeployError when it cannot be used."""
    question = "Connection string of the schema's owner, on Neon's pooled host:"
    if not (url := ask(question, is_secret=True)):
        raise DeployError("There is no connection string yet: run `make secrets` at a terminal.")
    check_connection_string(url)
    return url


def store_missing(environment: Environment) -> None:
    """Store what is not there yet, and leave the rest alone; ask only for what is missing."""
    if not has_connection_strings(environment):
        store_connection_strings(environment, ask_owner_url())
    client = boto3.client("secretsmanager")
    if not is_stored(client, environment.parameters[_JWT]):
        _put(client, environment.parameters[_JWT], secrets.token_urlsafe(48))


def store_connection_strings(environment: Environment, url: str) -> None:
    """Store the owner's connection string, and the API's own.

    With `MigrationSecret`, the API gets a login of its own, which this makes in the database.
    Without it, the API connects as the owner. Raise DeployError.
    """
    client, names = boto3.client("secretsmanager"), environment.parameters
    if not names.get("MigrationSecret"):
        _put(client, names["DatabaseSecret"], url)
        return
    with new_login(url, environment.name, _user(client, names["DatabaseSecret"])) as own:
        _put(client, names["DatabaseSecret"], own)
        _put(client, names["MigrationSecret"], url)


def rotate_jwt(environment: Environment) -> None:
    """Store a new version of the secret that signs tokens: what is typed, or a random one.

    The authorizer accepts the version before as well, until the next rotation. Raise DeployError
    when the authorizer would refuse to start with this secret.
    """
    secret = ask("The new secret (empty for a random one):", is_secret=True)
    confirm(environment, "This replaces the secret that signs tokens.")
    if secret:
        try:
            jwt_secret.check(secret)
        except jwt_secret.UnfitSecretError as error:
            raise DeployError(f"The secret {error}.") from None
    client = boto3.client("secretsmanager")
    _put(client, environment.parameters[_JWT], secret or secrets.token_urlsafe(48))
    print("Tokens of the version before stay good until the next rotation")


def forget(environment: Environment) -> None:
    """Close the API's logins, and delete the secrets, with a week to restore them."""
    client = boto3.client("secretsmanager")
    owner = environment.parameters.get("MigrationSecret")
    if owner and is_stored(client, owner):
        try:
            end_logins(_text(client, owner), environment.name)
        except (ConfigurationError, DeployError) as error:
            print(f"The API's logins may still connect: {error}")
    for name in filter(None, map(environment.parameters.get, (*_CONNECTION_STRINGS, _JWT))):
        if is_stored(client, name):
            client.delete_secret(SecretId=name, RecoveryWindowInDays=_RECOVERY_DAYS)
            print(f"Secret {name} is deleted; it can be restored for {_RECOVERY_DAYS} days")


def has_connection_strings(environment: Environment) -> bool:
    """Tell whether every connection string that the environment names is stored."""
    client = boto3.client("secretsmanager")
    named = filter(None, map(environment.parameters.get, _CONNECTION_STRINGS))
    return all(is_stored(client, name) for name in named)


def owner_version(environment: Environment) -> str:
    """Return when the secret that Migrate reads got its current version, and the version's id.

    It is read without the secret's text. Versions sort by age.
    """
    client, names = boto3.client("secretsmanager"), environment.parameters
    name = names.get("MigrationSecret") or names["DatabaseSecret"]
    # Only versions that carry a label are listed, and a secret has at most 20 labels.
    for each in client.list_secret_version_ids(SecretId=name)["Versions"]:
        if "AWSCURRENT" in each.get("VersionStages", []):
            stored = each["CreatedDate"].astimezone(UTC)
            return f"{stored:%Y-%m-%dT%H:%M:%SZ}/{each['VersionId']}"
    raise DeployError(f"The secret {name} has no current version.")


def _user(client: Any, name: str) -> str:
    """Return the user of a stored connection string; empty when there is none."""
    if not is_stored(client, name):
        return ""
    with suppress(ConfigurationError):  # a person may have stored something else, as JSON
        return parse_conninfo(_text(client, name)).get("user", "")
    return ""


def _text(client: Any, name: str) -> str:
    return str(client.get_secret_value(SecretId=name)["SecretString"])


def is_stored(client: Any, name: str) -> bool:
    try:
        return "DeletedDate" not in client.describe_secret(SecretId=name)
    except client.exceptions.ResourceNotFoundException:
        return False


def _put(client: Any, name: str, text: str) -> None:
    """Store a new current version, of a new secret if there is none."""
    try:
        described = client.describe_secret(SecretId=name)
    except client.exceptions.ResourceNotFoundException:
        client.create_secret(Name=name, SecretString=text)
        print(f"Secret {name} is new")
        return
    is_deleted = "DeletedDate" in described  # for less than a week
    if is_deleted:
        client.restore_secret(SecretId=name)
    client.put_secret_value(SecretId=name, SecretString=text)
    if is_deleted:
        _forget_version_before(client, name)
    print(f"Secret {name} has a new version")


def _forget_version_before(client: Any, name: str) -> None:
    """Take the label from what was deleted: the authorizer accepts the version that carries it."""
    stages = client.describe_secret(SecretId=name)["VersionIdsToStages"]
    for version, labels in stages.items():
        if "AWSPREVIOUS" in labels:
            client.update_secret_version_stage(
                SecretId=name, VersionStage="AWSPREVIOUS", RemoveFromVersionId=version
            )
