"""CloudFormation's custom resources: whatever happens, one answer is sent, and in time.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html. Without an answer a
stack hangs for an hour. Here that could only happen to a process that ends before the handler
runs; the template's ServiceTimeout is for that.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from threading import Lock, Timer
from typing import Any

import http_client

logger = logging.getLogger(__name__)

_PHYSICAL_ID = "schema"  # the same for ever: another one would have CloudFormation delete this one
_REASON_CHARACTERS = 500  # CloudFormation takes 4096 bytes in all
_TRIES = 3
_SECONDS = 3.0


def is_request(event: Mapping[str, Any]) -> bool:
    """Whether CloudFormation is asking, and waits for an answer."""
    return isinstance(event, Mapping) and "ResponseURL" in event


def serve(event: Mapping[str, Any], seconds: float, work: Callable[[], Mapping[str, Any]]) -> None:
    """Do the work if the request needs it, and answer, after `seconds` at the latest.

    Deleting the stack leaves the data alone, and so does taking back an update: a schema never
    goes back, and the code of before works with the schema of after.
    """
    reply = _Reply(event)
    timer = Timer(max(0.0, seconds), reply.fail, ["it was not done in time"])
    timer.daemon = True
    timer.start()
    try:
        reply.succeed(work() if _is_forward(event) else {"version": "unchanged"})
    except Exception as error:
        logger.exception("the schema could not be brought up to date")
        reply.fail(_sentence(error))
    finally:
        timer.cancel()


class _Reply:
    """The one answer to one request; what comes second is not sent."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self._url = str(event["ResponseURL"])
        self._same = {name: event.get(name) for name in ("StackId", "RequestId")}
        self._same["LogicalResourceId"] = event.get("LogicalResourceId")
        self._same["PhysicalResourceId"] = event.get("PhysicalResourceId") or _PHYSICAL_ID
        self._lock = Lock()
        self._is_sent = False

    def succeed(self, data: Mapping[str, Any]) -> None:
        """Answer with what `Fn::GetAtt` may ask for."""
        self._send({"Status": "SUCCESS", "Data": {"Version": str(data["version"])}})

    def fail(self, reason: str) -> None:
        """Answer so that CloudFormation stops and takes back."""
        self._send({"Status": "FAILED", "Reason": reason[:_REASON_CHARACTERS]})

    def _send(self, answer: Mapping[str, Any]) -> None:
        with self._lock:
            if self._is_sent:
                return
            body = json.dumps({**self._same, **answer}).encode()
            _put(self._url, body)
            self._is_sent = True


def _is_forward(event: Mapping[str, Any]) -> bool:
    """Whether this creates, or updates to newer code than there was."""
    if event.get("RequestType") == "Delete":
        return False
    new, old = (
        _version(event.get(name)) for name in ("ResourceProperties", "OldResourceProperties")
    )
    return new >= old


def _version(properties: object) -> int:
    """The version number at the end of the function's ARN; 0 for none."""
    arn = str(properties.get("Code", "")) if isinstance(properties, Mapping) else ""
    number = arn.rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def _sentence(error: Exception) -> str:
    """Our own errors say what is wrong and hold no secret; of others only the kind is safe."""
    if type(error).__module__.partition(".")[0] in ("neon", "runner"):
        return str(error)
    return f"{type(error).__name__}; the log of Migrate has it all"


def _put(url: str, body: bytes) -> None:
    for tries in range(1, _TRIES + 1):
        try:
            return _put_once(url, body)
        except http_client.HTTPClientError:
            if tries == _TRIES:
                raise
            time.sleep(0.2 * tries)
    return None


def _put_once(url: str, body: bytes) -> None:
    """PUT to a presigned address of S3, whose signature allows for no content type."""
    headers = {"Content-Type": ""}
    status = http_client.request("PUT", url, timeout=_SECONDS, body=body, headers=headers).status
    if status != HTTPStatus.OK:
        raise http_client.HTTPClientError(f"CloudFormation's answer was {status}")
