"""`make pipeline`: what lets GitHub deploy one environment without a stored key."""

from __future__ import annotations

import re
from collections.abc import Iterator

import boto3

from deploy.environments import DeployError, Environment
from deploy.sam import sam
from deploy.target import Target, outputs
from deploy.terminal import ask

_ISSUER = "token.actions.githubusercontent.com"


def make_pipeline(environment: Environment, target: Target, repository: str) -> Iterator[str]:
    """Make the role that GitHub deploys `environment` with; yield what to tell GitHub.

    Raises DeployError.
    """
    repository = repository or ask("GitHub repository, as owner/name:")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise DeployError(f"{repository!r} is no GitHub repository: give it as owner/name.")
    stack = f"{target.stack}-pipeline"
    parameters = {
        "StackToDeploy": target.stack,
        "EnvironmentName": environment.name,
        "Repository": repository,
        "SecretPrefix": environment.parameters["DatabaseSecret"].rpartition("/")[0],
        "OidcProvider": "exists" if _has_provider() else "create",
    }
    sam(
        *("deploy", "--template-file", "deploy/pipeline.yaml", "--stack-name", stack),
        *("--region", target.region, "--capabilities", "CAPABILITY_IAM", "--resolve-s3"),
        *("--s3-prefix", stack, "--on-failure", "DELETE", "--no-fail-on-empty-changeset"),
        *("--no-confirm-changeset", "--parameter-overrides"),
        *(f"{name}={value}" for name, value in parameters.items()),
    )
    role = (outputs(stack) or {})["RoleArn"]
    yield f"Set these variables of the environment {environment.name} of {repository} on GitHub:"
    yield f"  AWS_ROLE_ARN={role}"
    yield f"  AWS_REGION={target.region}"


def _has_provider() -> bool:
    """Tell whether the account trusts GitHub already; it can have one such provider only."""
    found = boto3.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
    return any(each["Arn"].endswith(f"/{_ISSUER}") for each in found)
