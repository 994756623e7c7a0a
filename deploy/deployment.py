"""`make deploy`, `make destroy` and `make pipeline`: SAM CLI works; this checks, asks, reports."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3

from deploy.environments import DeployError, Environment, ask, confirm, find_region, outputs, sam
from deploy.secret_store import forget, owner_version, store_missing
from deploy.template import functions, parse
from deploy.versions import resolver, stamp_build

# A new account has 10: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
_NEW_ACCOUNT = 10  # enough to deploy, and for a few requests at a time
_PRODUCTION = 100
_UNRESERVED = 100  # AWS refuses reservations that leave less for all other functions
_ISSUER = "token.actions.githubusercontent.com"


def deploy(environment: Environment, *, is_built: bool, options: Sequence[str]) -> None:
    """Build and deploy; say what is about to happen, and what there is in the end.

    With `is_built`, the artifacts in .aws-sam are deployed as they are. `options` go to SAM CLI.
    Raises DeployError.
    """
    _check_quota(environment)
    print(f"This {'updates' if outputs(environment.stack) else 'creates'} it:")
    print(f"  parameters: {', '.join(f'{k}={v}' for k, v in environment.parameters.items())}")
    store_missing(environment)
    if not is_built:
        architecture = environment.parameters.get("Architecture", "x86_64")
        sam("build", "--config-env", environment.name, ARCHITECTURE=architecture)
    stamp_build(environment)
    parameters = {**environment.parameters, "DatabaseSecretVersion": owner_version(environment)}
    overrides = [f"{name}={value}" for name, value in parameters.items()]
    sam("deploy", "--config-env", environment.name, *options, "--parameter-overrides", *overrides)
    if not (found := outputs(environment.stack)):
        raise DeployError(f"Nothing was deployed: {environment.stack} has no outputs.")
    if environment.is_protected:
        _protect(environment.stack, is_protected=True)
    print(f"The API answers at {found['ApiUrl']}")
    print(f"  try it:     curl --fail {found['ApiUrl']}/health")
    print(f"  test it:    make smoke ENV={environment.name}")
    print(f"  read about: {found['ApiUrl']}/docs")
    print(f"  dashboard:  {found['DashboardUrl']}")


def destroy(environment: Environment) -> None:
    """Delete the stack and its secrets. Raises DeployError.

    A person types the name of a protected stack first, and then its protection is taken away.
    """
    confirm(environment, "This deletes what customers use: the API, its logs and its secrets.")
    if environment.is_protected:
        _protect(environment.stack, is_protected=False)
    sam("delete", "--config-env", environment.name, "--no-prompts")
    forget(environment)


def make_pipeline(environment: Environment, repository: str) -> None:
    """Make the role that GitHub deploys `environment` with, without a stored key.

    Say what to tell GitHub. Raises DeployError.
    """
    repository = repository or ask("GitHub repository, as owner/name:")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise DeployError(f"{repository!r} is no GitHub repository: give it as owner/name.")
    stack = f"{environment.stack}-pipeline"
    # An account can have one provider for GitHub, which other environments' pipelines share.
    providers = boto3.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
    trusts_github = any(each["Arn"].endswith(f"/{_ISSUER}") for each in providers)
    parameters = {
        "StackToDeploy": environment.stack,
        "EnvironmentName": environment.name,
        "Repository": repository,
        "SecretPrefix": environment.parameters["DatabaseSecret"].rpartition("/")[0],
        "OidcProvider": "exists" if trusts_github else "create",
    }
    sam(
        *("deploy", "--template-file", "deploy/pipeline.yaml", "--stack-name", stack),
        *("--capabilities", "CAPABILITY_IAM", "--resolve-s3", "--s3-prefix", stack),
        *("--on-failure", "DELETE", "--no-fail-on-empty-changeset", "--no-confirm-changeset"),
        *("--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())),
    )
    print(f"Set these variables of the environment {environment.name} of {repository} on GitHub:")
    print(f"  AWS_ROLE_ARN={outputs(stack)['RoleArn']}")
    print(f"  AWS_REGION={find_region()}")


def needed_executions(environment: Environment, template: Mapping[str, Any]) -> int:
    """Return how many concurrent executions the account has to allow for this environment."""
    resolve = resolver(template, environment.parameters).resolve
    name = "ReservedConcurrentExecutions"
    reserved = sum(int(resolve(each.get(name)) or 0) for each in functions(template).values())
    if reserved:
        return reserved + _UNRESERVED
    return _PRODUCTION if environment.is_protected else _NEW_ACCOUNT


def _check_quota(environment: Environment) -> None:
    """Raise DeployError when the account allows fewer executions at a time than are needed."""
    settings = boto3.client("lambda").get_account_settings()
    allowed = int(settings["AccountLimit"]["ConcurrentExecutions"])
    needed = needed_executions(environment, parse(Path("template.yaml")))
    if allowed < needed:
        raise DeployError(
            f"This account allows {allowed} concurrent Lambda executions in this region and "
            f"{environment.stack} needs {needed}: request more in the AWS console under Service "
            "Quotas, AWS Lambda, Concurrent executions."
        )


def _protect(stack: str, *, is_protected: bool) -> None:
    boto3.client("cloudformation").update_termination_protection(
        StackName=stack, EnableTerminationProtection=is_protected
    )
