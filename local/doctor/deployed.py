"""A deployed environment: its stack, its secrets, and what has changed since the deployment."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.deployment import check_parameters
from deploy.environments import DeployError, Environment, describe, find_region, read_environment
from deploy.secret_store import has_connection_strings, is_stored, owner_version
from local.doctor.findings import BROKEN, HURTS, Finding, Findings, judge

_SECRETS = ("DatabaseSecret", "MigrationSecret", "JwtSecretId")
_VERSION = "DatabaseSecretVersion"


def check(name: str) -> Findings:
    """Look at what AWS has of the environment `name` of samconfig.toml."""
    try:
        environment = read_environment(Path("samconfig.toml"), name)
        find_region()
        yield _configured(environment)
        yield _secrets(environment)
        yield from _stack(environment)
    except DeployError as error:
        yield Finding(name, "environment", BROKEN, str(error))
    except (BotoCoreError, ClientError) as error:
        yield Finding(name, "AWS", BROKEN, f"AWS refuses: {error}")


def _configured(environment: Environment) -> Finding:
    refused = ""
    try:
        check_parameters(environment)
    except DeployError as error:
        refused = str(error)
    fine = "its parameters are the template's"
    return judge(environment.name, "samconfig.toml", fine, (refused, BROKEN, refused))


def _secrets(environment: Environment) -> Finding:
    client = boto3.client("secretsmanager")
    names = [each for each in map(environment.parameters.get, _SECRETS) if each]
    missing = ", ".join(each for each in names if not is_stored(client, each))
    text = f"{missing} is missing: `make secrets ENV={environment.name}` stores it."
    return judge(environment.name, "secrets", ", ".join(names), (missing, BROKEN, text))


def _stack(environment: Environment) -> Findings:
    line, deploy = partial(judge, environment.name), f"`make deploy ENV={environment.name}`"
    stack = describe(environment.stack)
    status = str(stack.get("StackStatus"))
    text = f"{environment.stack} is {status}: its events say why"
    is_fine = status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    serves = status.startswith("UPDATE") and not status.endswith("FAILED")
    yield line(
        "stack",
        status,
        (not stack, BROKEN, f"{environment.stack} is not there: {deploy} makes it."),
        (not is_fine and serves, HURTS, f"{text}."),
        (not is_fine, BROKEN, f"{text}; `make destroy ENV={environment.name}` removes it."),
    )
    if stack:
        given = stack.get("Parameters", [])
        values = {each["ParameterKey"]: each["ParameterValue"] for each in given}
        changed = ", ".join(_changed(environment, values))
        text = f"Changed since: {changed}; {deploy} applies it."
        yield line("versions", "nothing was changed since", (changed, HURTS, text))


def _changed(environment: Environment, deployed: Mapping[str, str]) -> list[str]:
    """Return the parameters that the next deployment would change; of a secret, its version's id.

    The values of parameters that samconfig.toml does not name are not compared.
    """
    given = environment.parameters.items()
    changed = [name for name, value in given if deployed.get(name) != value]
    if has_connection_strings(environment):
        id_ = owner_version(environment).rpartition("/")[2]
        if deployed.get(_VERSION, "").rpartition("/")[2] != id_:
            changed.append(_VERSION)
    return changed
