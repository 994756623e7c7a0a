"""CloudFormation's side of Smoke: where the API answers, and the verdict on a deployment.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import http_client
from observability import logger

_REASON_CHARACTERS = 500  # CloudFormation takes 4096 bytes in all
_SECONDS = 10.0


class NotDeployedError(Exception):
    """The stack has no address yet: its first deployment is not complete."""


def api_url() -> str:
    """Return the stack's output ApiUrl. Raises NotDeployedError, and what boto3 raises."""
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
        reason = f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS]
        logger.error("verdict", outcome="failed", reason=reason)
        verdict = {"Status": "FAILED", "Reason": reason}
    same = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    response = http_client.request(
        "PUT",
        event["ResponseURL"],
        timeout=_SECONDS,
        body=json.dumps({"PhysicalResourceId": "smoke-test", **same, **verdict}).encode(),
        headers={"Content-Type": ""},  # the signature of S3's presigned address allows none
    )
    if response.status != HTTPStatus.OK:
        raise http_client.HTTPClientError(f"CloudFormation's answer was {response.status}")


def _stack() -> dict[str, Any]:
    import boto3  # Lambda's own, which is not part of what we build

    client = boto3.client("cloudformation")
    stacks: list[dict[str, Any]] = client.describe_stacks(StackName=os.environ["STACK_ID"])[
        "Stacks"
    ]
    return stacks[0]
