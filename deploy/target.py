"""Where a command acts: account, region and stack."""

from __future__ import annotations

from dataclasses import dataclass

import boto3
from botocore.exceptions import ClientError

from deploy.environments import DeployError, Environment


@dataclass(frozen=True, slots=True)
class Target:
    """One stack of one account in one region."""

    stack: str
    account: str
    region: str

    def __str__(self) -> str:
        return f"Stack {self.stack} in account {self.account}, region {self.region}"


def find_target(environment: Environment) -> Target:
    """Return the stack that the credentials and the region lead to. Raises DeployError."""
    region = boto3.session.Session().region_name
    if not region:
        raise DeployError("No region is set: export AWS_REGION, or set one in your AWS profile.")
    account = boto3.client("sts").get_caller_identity()["Account"]
    return Target(environment.stack, account, region)


def outputs(stack: str) -> dict[str, str] | None:
    """Return a stack's outputs by name, or None when there is no such stack."""
    try:
        (found,) = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            return None
        raise
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
