"""CloudFormation's side of Smoke: where the API answers, and the verdict on a deployment.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

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


def is_request(event: Mapping[str, Any]) -> bool:
    """Tell whether CloudFormation sent this event and waits for a response."""
    return isinstance(event, Mapping) and "ResponseURL" in event


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
    _send(event, verdict)


def _stack() -> Mapping[str, Any]:
    import boto3  # Lambda's own, which is not part of what we build

    client = boto3.client("cloudformation")
    stack: Mapping[str, Any]
    (stack,) = client.describe_stacks(StackName=os.environ["STACK_ID"])["Stacks"]
    return stack


def _send(event: Mapping[str, Any], verdict: Mapping[str, str]) -> None:
    """PUT the response to a presigned address of S3, whose signature allows no content type."""
    same = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    body = {"PhysicalResourceId": "smoke-test", **same, **verdict}
    parts = urlsplit(event["ResponseURL"])
    connection = http.client.HTTPSConnection(parts.netloc, timeout=_SECONDS)
    try:
        target = f"{parts.path}?{parts.query}"
        connection.request("PUT", target, json.dumps(body).encode(), {"Content-Type": ""})
        status = connection.getresponse().status
        if status != http.client.OK:
            raise http.client.HTTPException(f"S3 answered {status} to CloudFormation's response")
    finally:
        connection.close()
