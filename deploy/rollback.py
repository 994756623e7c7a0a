"""`make rollback`: in an incident, functions serve the version before within seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3

from deploy.environments import DeployError, Environment, describe
from deploy.published import ALIAS, Function, published


def roll_back(environment: Environment, names: str | None) -> None:
    """Move functions to the version before: those with these names, or all of the last deployment.

    The endpoints move first, then the authorizer and Smoke. Migrate stays, because a schema does
    not go back. Raise DeployError when there is nothing to move.
    """
    stack = _settled(environment)
    found = {name: each for name, each in published(environment.stack).items() if name != "Migrate"}
    begun = stack.get("LastUpdatedTime", stack["CreationTime"])
    changed = [name for name, each in found.items() if each.times[each.serving] >= begun]
    chosen = names.split(",") if names else changed
    if unknown := set(chosen) - set(found):
        raise DeployError(f"{environment.stack} has no function {min(unknown)} to move.")
    earlier = {
        name: [n for n in found[name].versions if n < found[name].serving] for name in chosen
    }
    moved = [name for name in found if earlier.get(name)]
    if not moved:
        raise DeployError(
            "No function serves a version of the last deployment and has an earlier one; "
            "FUNCTION=ListTasks,GetTask moves those that it names."
        )
    for name in reversed(moved):
        _move(name, found[name], max(earlier[name]))
    print(f"`make rollback ENV={environment.name} UNDO=1` puts this back.")
    print("Deploy the repair with Rollout=AllAtOnce: CodeDeploy refuses aliases that were moved.")


def undo(environment: Environment) -> None:
    """Move every function to the version of the last deployment. Raise DeployError."""
    _settled(environment)
    for name, function in published(environment.stack).items():
        if function.is_moved:
            _move(name, function, function.current)


def refuse_moved(environment: Environment, rollout: str, found: Mapping[str, Function]) -> None:
    """Raise DeployError for aliases that CodeDeploy would refuse in the middle of a deployment."""
    moved = [name for name, each in found.items() if each.is_moved]
    if moved and rollout != "AllAtOnce":
        raise DeployError(
            f"CodeDeploy would refuse {', '.join(moved)}, which somebody moved to another version: "
            "set Rollout=AllAtOnce in samconfig.toml for this deployment, or first run "
            f"`make rollback ENV={environment.name} UNDO=1`."
        )


def _settled(environment: Environment) -> Mapping[str, Any]:
    stack = describe(environment.stack)
    if not stack or stack["StackStatus"].endswith("_IN_PROGRESS"):
        raise DeployError(
            f"{environment.stack} is not deployed, or a deployment is under way: to stop one, run "
            f"`aws cloudformation cancel-update-stack --stack-name {environment.stack}`."
        )
    return stack


def _move(name: str, function: Function, version: int) -> None:
    boto3.client("lambda").update_alias(
        FunctionName=function.name,
        Name=ALIAS,
        FunctionVersion=str(version),
        RoutingConfig={"AdditionalVersionWeights": {}},
    )
    print(f"{name} serves version {version} instead of {function.serving}")
