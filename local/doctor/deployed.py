"""A deployed environment: its stack, its secrets, and what has changed since the deployment."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.deployment import check_parameters
from deploy.environments import DeployError, Environment, describe, find_region, read_environment
from deploy.secret_store import has_connection_strings, is_stored, owner_version
from local.doctor.findings import Finding, Findings, State

_FINE, _HURTS, _BROKEN, _UNCHECKED = State
_SECRETS = ("DatabaseSecret", "MigrationSecret", "JwtSecretId")
_VERSION = "DatabaseSecretVersion"


def check(name: str) -> Findings:
    """Look at what AWS has of the environment `name` of samconfig.toml."""
    found = partial(Finding, name)
    try:
        environment = read_environment(Path("samconfig.toml"), name)
        find_region()
        yield from _parameters(found, environment)
        yield from _secrets(found, environment)
        yield from _stack(found, environment)
    except DeployError as error:
        yield found("environment", _BROKEN, str(error))
    except (BotoCoreError, ClientError) as error:
        yield found("AWS", _BROKEN, f"AWS refuses: {error}")


def _parameters(found: partial[Finding], environment: Environment) -> Findings:
    try:
        check_parameters(environment)
    except DeployError as error:
        yield found("samconfig.toml", _BROKEN, str(error))
    else:
        yield found("samconfig.toml", _FINE, "its parameters are the template's")


def _secrets(found: partial[Finding], environment: Environment) -> Findings:
    client = boto3.client("secretsmanager")
    names = [each for each in map(environment.parameters.get, _SECRETS) if each]
    missing = [each for each in names if not is_stored(client, each)]
    if missing:
        text = f"{', '.join(missing)} is missing: `make secrets ENV={environment.name}` stores it."
        yield found("secrets", _BROKEN, text)
    else:
        yield found("secrets", _FINE, ", ".join(names))


def _stack(found: partial[Finding], environment: Environment) -> Findings:
    stack = describe(environment.stack)
    deploy = f"`make deploy ENV={environment.name}`"
    if not stack:
        yield found("stack", _BROKEN, f"{environment.stack} is not there: {deploy} makes it.")
        return
    status = stack["StackStatus"]
    text = f"{environment.stack} is {status}"
    if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        yield found("stack", _FINE, text)
    elif status.startswith("UPDATE") and not status.endswith("FAILED"):
        yield found("stack", _HURTS, f"{text}: its events say why.")
    else:
        yield found("stack", _BROKEN, f"{text}: its events say why; `make destroy` removes it.")
    yield _versions(found, environment, stack.get("Parameters", []), deploy)


def _is_current(environment: Environment, deployed: str | None) -> bool:
    """Tell whether the stack was deployed with the owner's secret as it is today, by its id."""
    return (deployed or "").rpartition("/")[2] == owner_version(environment).rpartition("/")[2]


def _versions(
    found: partial[Finding], environment: Environment, given: list[dict[str, str]], deploy: str
) -> Finding:
    """Compare the stack's parameters with those that the next deployment would set."""
    values = {each["ParameterKey"]: each["ParameterValue"] for each in given}
    other = [name for name, value in environment.parameters.items() if values.get(name) != value]
    if has_connection_strings(environment) and not _is_current(environment, values.get(_VERSION)):
        other.append(_VERSION)
    if other:
        return found("versions", _HURTS, f"{', '.join(other)} changed since: {deploy} applies it.")
    return found("versions", _FINE, "the stack has the parameters and the secret of today")
