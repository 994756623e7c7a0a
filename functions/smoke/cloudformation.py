"""CloudFormation's side of Smoke: where the API is, and the verdict on a deployment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import cloudformation_response
from cloudformation_response import failed
from observability import logger


def api_url() -> str:
    """Return the address of the stack's own API. Raise what boto3 raises.

    No event can name another one, which would get the token.
    """
    url = os.environ["API_URL"]
    if "{}" not in url:
        return url
    api = _client().describe_stack_resource(
        StackName=os.environ["STACK_ID"], LogicalResourceId="Api"
    )
    return url.format(api["StackResourceDetail"]["PhysicalResourceId"])


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
    (stack,) = _client().describe_stacks(StackName=os.environ["STACK_ID"])["Stacks"]
    return dict(stack)


def _client() -> Any:
    import boto3  # Lambda's own, which is not part of what we build

    return boto3.client("cloudformation")
