"""CloudFormation's side of Smoke: where the API is, and the verdict on a deployment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import cloudformation_response
from cloudformation_response import failed
from observability import logger


class NotDeployedError(Exception):
    """The stack has no address yet: its first deployment is not complete."""


def api_url() -> str:
    """Return the stack's output ApiUrl. Raise NotDeployedError, and what boto3 raises."""
    for output in _stack().get("Outputs", []):
        if output["OutputKey"] == "ApiUrl":
            return str(output["OutputValue"])
    raise NotDeployedError("the stack has no output ApiUrl")


def respond(event: Mapping[str, Any], judge: Callable[[], object]) -> None:
    """Judge the deployment and send the verdict; whatever goes wrong is a failure.

    Deleting needs no verdict. Nor does a stack that goes back: a second failure would leave it in
    UPDATE_ROLLBACK_FAILED, where nothing can be deployed.
    """
    try:
        if event["RequestType"] != "Delete" and "ROLLBACK" not in _stack()["StackStatus"]:
            judge()
        verdict = {"Status": "SUCCESS"}
    except Exception as error:
        verdict = failed(f"{type(error).__name__}: {error}")
        logger.error("verdict", outcome="failed", reason=verdict["Reason"])
    cloudformation_response.send(event, verdict, "smoke-test")


def _stack() -> dict[str, Any]:
    import boto3  # Lambda's own, which is not part of what we build

    client = boto3.client("cloudformation")
    stacks: list[dict[str, Any]] = client.describe_stacks(StackName=os.environ["STACK_ID"])[
        "Stacks"
    ]
    return stacks[0]
