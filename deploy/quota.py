"""The account's quota of concurrent Lambda executions, checked before anything is changed.

A new account has 10: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3

from deploy.environments import DeployError, Environment

_TEMPLATE = Path(__file__).resolve().parents[1] / "template.yaml"
_NEW_ACCOUNT = 10  # enough to deploy, and for a few requests at a time
_PRODUCTION = 100
_UNRESERVED = 100  # AWS refuses reservations that leave less for all other functions


def check_quota(environment: Environment) -> None:
    """Raise DeployError when the account allows fewer executions at a time than are needed."""
    settings = boto3.client("lambda").get_account_settings()
    allowed = int(settings["AccountLimit"]["ConcurrentExecutions"])
    needed = needed_executions(environment)
    if allowed < needed:
        raise DeployError(
            f"This account allows {allowed} concurrent Lambda executions in this region and "
            f"{environment.stack} needs {needed}: request more in the AWS console under Service "
            "Quotas, AWS Lambda, Concurrent executions."
        )


def needed_executions(environment: Environment) -> int:
    """Return how many concurrent executions the account has to allow for this environment."""
    if reserved := sum(_reservations(environment)):
        return reserved + _UNRESERVED
    return _PRODUCTION if environment.is_protected else _NEW_ACCOUNT


def _reservations(environment: Environment) -> list[int]:
    """Return what each function of the template reserves with the environment's parameters."""
    from samtranslator.yaml_helper import yaml_parse

    from local.intrinsics import Resolver

    template: dict[str, Any] = yaml_parse(_TEMPLATE.read_text())
    defaults = {key: each.get("Default") for key, each in template["Parameters"].items()}
    resolver = Resolver(template, defaults | dict(environment.parameters))
    shared = template["Globals"]["Function"].get("ReservedConcurrentExecutions")
    reserved = (
        resolver.resolve(each["Properties"].get("ReservedConcurrentExecutions", shared))
        for each in template["Resources"].values()
        if each["Type"] == "AWS::Serverless::Function"
    )
    return [int(each) for each in reserved if each is not None]
