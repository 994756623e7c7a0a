"""`make deploy`, `make destroy` and `make pipeline`: SAM CLI works; this checks, asks, reports."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from settings import SettingsError, from_environment

from deploy.environments import (
    DeployError,
    Environment,
    ask,
    confirm,
    describe,
    find_region,
    outputs,
    sam,
    sam_deploy,
)
from deploy.published import delete_old_versions, published, stack_resources
from deploy.rollback import refuse_moved
from deploy.secret_store import forget, owner_version, store_missing
from deploy.template import Resolver, functions, parse
from deploy.versions import complete, reserved_executions, stamp_build

# A new account has 10: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
_NEW_ACCOUNT = 10  # enough to deploy, and for a few requests at a time
PRODUCTION = 100
_UNRESERVED = 100  # AWS refuses reservations that leave less for all other functions
_ISSUER = "token.actions.githubusercontent.com"
_TEMPLATE = Path("template.yaml")
_MONITORING = Path("deploy/monitoring.yaml")


def deploy(environment: Environment, *, is_built: bool, options: Sequence[str]) -> None:
    """Build and deploy; say what is about to happen, and what there is in the end.

    With `is_built`, the artifacts in .aws-sam are deployed as they are. `options` go to SAM CLI.
    Raise DeployError.
    """
    values = check_parameters(environment)
    _check_issuers(values)
    before = describe(environment.stack)
    executions = _check_quota(environment, values, before)
    versions = published(environment.stack)
    refuse_moved(environment, values["Rollout"], versions)
    print(f"This {'updates' if before.get('Outputs') else 'creates'} it:")
    print(f"  parameters: {', '.join(f'{k}={v}' for k, v in environment.parameters.items())}")
    store_missing(environment)
    if not is_built:
        sam("build", "--config-env", environment.name, ARCHITECTURE=values["Architecture"])
    stamp_build(environment, versions)
    values["DatabaseSecretVersion"] = owner_version(environment)
    sam_deploy(values, "--config-env", environment.name, *options)
    after = describe(environment.stack)
    if not after.get("Outputs"):
        raise DeployError(f"Nothing was deployed: {environment.stack} has no outputs.")
    if environment.is_protected:
        _protect(environment.stack, is_protected=True)
    if environment.alarm_email is not None:
        _monitor(environment, _parameters(after)["SmokeMinutes"], executions)
    elif describe(monitoring := _monitoring_stack(environment)):
        print(f"{monitoring} is still there: `sam delete --stack-name {monitoring}` deletes it.")
    delete_old_versions(versions, published(environment.stack))
    if before and _last_change(before) == _last_change(after):
        print(f"{environment.stack} was not changed.")
    _report(environment)


def destroy(environment: Environment) -> None:
    """Delete the stacks and the secrets. Raise DeployError.

    A person types the name of a protected stack first, and then its protection is taken away.
    """
    confirm(environment, "This deletes what customers use: the API, its logs and its secrets.")
    if environment.is_protected:
        _protect(environment.stack, is_protected=False)
    if describe(_monitoring_stack(environment)):
        sam("delete", "--stack-name", _monitoring_stack(environment), "--no-prompts")
    sam("delete", "--config-env", environment.name, "--no-prompts")
    forget(environment)


def make_pipeline(environment: Environment, repository: str) -> None:
    """Make the role that GitHub deploys `environment` with, without a stored key.

    Say what to tell GitHub. Raise DeployError.
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
    _deploy_beside(stack, Path("deploy/pipeline.yaml"), parameters)
    name, found = environment.name, outputs(stack)
    print(f"On GitHub, let only the branch main of {repository} deploy to the environment {name}.")
    print("Set its variables:")
    print(f"  AWS_ROLE_ARN={found['RoleArn']}")
    print(f"  AWS_REGION={find_region()}")
    print(f"In samconfig.toml, set in [{name}.global.parameters.parameter_overrides]:")
    print(f'  PermissionsBoundary = "{found["BoundaryArn"]}"')


def check_parameters(environment: Environment) -> dict[str, str]:
    """Return a value for every parameter of the template. Raise DeployError for an unknown one."""
    template = parse(_TEMPLATE)
    if unknown := set(environment.parameters) - set(template["Parameters"]):
        raise DeployError(f"template.yaml has no parameter {min(unknown)}: see samconfig.toml.")
    if '"secret"' in environment.parameters.get("JwtIssuers", ""):
        raise DeployError(
            "JwtIssuers is plain configuration and may hold no secret: store it by `make secrets "
            f"ENV={environment.name} ROTATE=jwt`, and describe it by JwtIssuer and JwtAudience."
        )
    if environment.alarm_email == "":
        raise DeployError(
            f"Nobody is told of the alarms of {environment.name}: set its alarm_email in "
            "samconfig.toml, or remove the line for an environment without monitoring."
        )
    return complete(template, environment.parameters)


def _check_issuers(values: Mapping[str, str]) -> None:
    """Raise DeployError for issuers with which the authorizer would not start."""
    template = parse(_TEMPLATE)
    given = functions(template)["Authorizer"]["Environment"]["Variables"]
    try:
        from_environment(Resolver(template, values).resolve(given))
    except SettingsError as error:
        raise DeployError(f"The authorizer would not start: {error}.") from None


def _check_quota(
    environment: Environment, values: Mapping[str, str], before: Mapping[str, Any]
) -> int:
    """Return how many executions the account allows at once. Raise DeployError for too few.

    What other stacks reserve is no longer free; what this stack reserves already is.
    """
    limits = boto3.client("lambda").get_account_settings()["AccountLimit"]
    allowed = int(limits["ConcurrentExecutions"])
    template = parse(_TEMPLATE)
    former = _parameters(before)
    reserved = reserved_executions(template, values)
    held = reserved_executions(template, former) if before else 0
    missing = reserved + _UNRESERVED - held - int(limits["UnreservedConcurrentExecutions"])
    if not reserved:
        missing = (PRODUCTION if environment.is_protected else _NEW_ACCOUNT) - allowed
    if missing > 0:
        raise DeployError(
            f"This account allows {allowed} concurrent Lambda executions in this region, and "
            f"{environment.stack} needs {missing} more: request them in the AWS console under "
            "Service Quotas, AWS Lambda, Concurrent executions."
        )
    return allowed


def _monitor(environment: Environment, smoke_minutes: str, executions: int) -> None:
    """Deploy the alarms, the dashboard and the saved queries of a stack that is deployed."""
    resources = stack_resources(environment.stack)
    parameters = {
        "Service": environment.stack,
        "AlarmEmail": environment.alarm_email or "",
        "SmokeMinutes": smoke_minutes,
        "AccountConcurrency": str(executions),
    }
    named = set(parse(_MONITORING)["Parameters"]) & set(resources)
    parameters |= {name: resources[name] for name in named}
    _deploy_beside(_monitoring_stack(environment), _MONITORING, parameters)


def _parameters(stack: Mapping[str, Any]) -> dict[str, str]:
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", [])}


def _monitoring_stack(environment: Environment) -> str:
    return f"{environment.stack}-monitoring"


def _deploy_beside(stack: str, template: Path, parameters: Mapping[str, str]) -> None:
    """Deploy one of the templates that need no build."""
    sam_deploy(
        parameters,
        *("--template-file", str(template), "--stack-name", stack),
        *("--capabilities", "CAPABILITY_IAM", "--resolve-s3", "--s3-prefix", stack),
        *("--on-failure", "DELETE", "--no-fail-on-empty-changeset", "--no-confirm-changeset"),
    )


def _report(environment: Environment) -> None:
    """Say where the API answers, and how to try it."""
    found = outputs(environment.stack)
    print(f"The API answers at {found['ApiUrl']}")
    print(f"  try it:     curl --fail {found['ApiUrl']}/health")
    print(f"  test it:    make smoke ENV={environment.name}")
    print(f"  read about: {found['ApiUrl']}/docs")
    if url := outputs(_monitoring_stack(environment)).get("DashboardUrl"):
        print(f"  dashboard:  {url}")


def _last_change(stack: Mapping[str, Any]) -> Any:
    return stack.get("LastUpdatedTime", stack["CreationTime"])


def _protect(stack: str, *, is_protected: bool) -> None:
    boto3.client("cloudformation").update_termination_protection(
        StackName=stack, EnableTerminationProtection=is_protected
    )
