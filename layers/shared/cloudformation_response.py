"""The one response to a request of CloudFormation for a custom resource.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html. Without a response a
stack waits until the resource's ServiceTimeout.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import http_client

logger = logging.getLogger(__name__)

_REASON_CHARACTERS = 500  # CloudFormation takes 4096 bytes in all
_PAUSES = (0.2, 0.4)  # seconds before each further try
_SECONDS = 3.0


def failed(reason: str) -> dict[str, Any]:
    """Return the outcome that makes CloudFormation roll back, with the reason that it shows."""
    return {"Status": "FAILED", "Reason": reason[:_REASON_CHARACTERS]}


def send(event: Mapping[str, Any], outcome: Mapping[str, Any], physical_id: str) -> None:
    """Send the response, in up to three tries; raise HTTPClientError if none gets through.

    `physical_id` is the new resource's; an existing one keeps its own, or CloudFormation would
    delete it.
    """
    same = {name: event.get(name) for name in ("StackId", "RequestId", "LogicalResourceId")}
    id_ = event.get("PhysicalResourceId") or physical_id
    body = json.dumps({**same, "PhysicalResourceId": id_, **outcome}).encode()
    for pause in _PAUSES:
        try:
            return _put(str(event["ResponseURL"]), body)
        except http_client.HTTPClientError as error:
            logger.warning("the response did not get through: %s", error)
            time.sleep(pause)
    return _put(str(event["ResponseURL"]), body)


def _put(url: str, body: bytes) -> None:
    """PUT to a presigned address of S3, whose signature does not allow a content type."""
    headers = {"Content-Type": ""}
    status = http_client.request("PUT", url, timeout=_SECONDS, body=body, headers=headers).status
    if status != HTTPStatus.OK:
        raise http_client.HTTPClientError(f"CloudFormation's response was {status}")
