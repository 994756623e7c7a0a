"""`make deploy` and `make destroy`: SAM CLI does the work; this checks, asks and reports."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import boto3

from deploy.connection_string import check_connection_string
from deploy.environments import DeployError, Environment
from deploy.quota import check_quota
from deploy.sam import SECRET_VARIABLES, sam
from deploy.secret_store import forget, has_connection_strings, owner_version, store_missing
from deploy.target import Target, outputs
from deploy.terminal import ask_secret, confirm
from deploy.versions import stamp_build

OWNER_QUESTION = "Connection string of the schema's owner, on Neon's pooled host:"


def deploy(
    environment: Environment, target: Target, *, built: bool, options: Sequence[str]
) -> Iterator[str]:
    """Build and deploy; yield what is about to happen, and what there is in the end.

    With `built`, the artifacts in .aws-sam are deployed as they are. `options` go to SAM CLI.
    Raises DeployError.
    """
    yield from _ignored()
    check_quota(environment)
    yield from _plan(environment, target, built=built)
    yield from store_missing(environment, owner_url)
    if not built:
        architecture = environment.parameters.get("Architecture", "x86_64")
        sam("build", "--config-env", environment.name, ARCHITECTURE=architecture)
    stamp_build(environment)
    parameters = {**environment.parameters, "DatabaseSecretVersion": owner_version(environment)}
    overrides = [f"{name}={value}" for name, value in parameters.items()]
    where = ("--config-env", environment.name, "--region", target.region)
    sam("deploy", *where, *options, "--parameter-overrides", *overrides)
    found = outputs(target.stack)
    if not found:
        raise DeployError(f"Nothing was deployed: {target.stack} has no outputs.")
    if environment.is_protected:
        _protect(target, is_protected=True)
    yield from _summary(environment, found)


def destroy(environment: Environment, target: Target) -> Iterator[str]:
    """Delete the stack and its secrets; yield what was done. Raises DeployError.

    A person types the name of a protected stack first, and then its protection is taken away.
    """
    if environment.is_protected:
        confirm(target.stack, "This deletes what customers use: the API, its logs and its secrets.")
        _protect(target, is_protected=False)
    sam("delete", "--config-env", environment.name, "--region", target.region, "--no-prompts")
    yield from forget(environment)


def owner_url() -> str:
    """Ask for the owner's connection string. Raises DeployError when it cannot be used."""
    url = ask_secret(OWNER_QUESTION)
    if not url:
        raise DeployError("There is no connection string yet: run `make secrets` at a terminal.")
    check_connection_string(url)
    return url


def _ignored() -> Iterator[str]:
    for name in SECRET_VARIABLES:
        if os.environ.get(name):
            yield f"{name} is set in this shell and ignored: `make secrets` changes a secret."


def _plan(environment: Environment, target: Target, *, built: bool) -> Iterator[str]:
    yield f"This {'updates' if outputs(target.stack) else 'creates'} it:"
    if not has_connection_strings(environment):
        yield "  store the connection string, which is asked for"
    yield "  deploy what is in .aws-sam" if built else "  build, and deploy"
    yield "  migrate the database before the new code gets requests"
    yield f"  parameters: {', '.join(f'{k}={v}' for k, v in environment.parameters.items())}"


def _protect(target: Target, *, is_protected: bool) -> None:
    boto3.client("cloudformation").update_termination_protection(
        StackName=target.stack, EnableTerminationProtection=is_protected
    )


def _summary(environment: Environment, found: Mapping[str, str]) -> Iterator[str]:
    url = found["ApiUrl"]
    yield f"The API answers at {url}"
    yield f"  try it:     curl --fail {url}/health"
    yield f"  test it:    make smoke ENV={environment.name}"
    yield f"  read about: {url}/docs"
    yield f"  dashboard:  {found['DashboardUrl']}"
