"""A deployed environment: its parameters, its secrets and its stack."""

from __future__ import annotations

from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.deployment import check_parameters
from deploy.environments import DeployError, Environment, describe, find_region, read_environment
from deploy.secret_store import is_stored
from local.doctor.findings import BROKEN, Finding, Findings, judge

_SECRETS = ("DatabaseSecret", "MigrationSecret", "JwtSecretId")


def check(name: str) -> Findings:
    """Look at what AWS has of the environment `name` of samconfig.toml."""
    try:
        environment = read_environment(Path("samconfig.toml"), name)
        find_region()
        yield _configured(environment)
        yield _secrets(environment)
        yield _stack(environment)
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


def _stack(environment: Environment) -> Finding:
    stack = describe(environment.stack)
    status = str(stack.get("StackStatus"))
    missing = f"It is not there: `make deploy ENV={environment.name}` makes {environment.stack}."
    is_fine = status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    return judge(
        environment.name,
        "stack",
        status,
        (not stack, BROKEN, missing),
        (not is_fine, BROKEN, f"{environment.stack} is {status}: its events say why."),
    )
