"""CloudFormation's custom resources: send exactly one response, in time, whatever happens.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html. Without a response
a stack hangs for an hour. Here that happens only when the process ends before the handler runs;
the template's ServiceTimeout bounds that case.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from threading import Lock, Timer
from typing import Any

import http_client
from observability import logger

_PHYSICAL_ID = "schema"  # never another one: CloudFormation would delete this resource
_REASON_CHARACTERS = 500  # CloudFormation takes 4096 bytes in all
_TRIES = 3
_SECONDS = 3.0


def is_request(event: Mapping[str, Any]) -> bool:
    """Tell whether CloudFormation sent this event and waits for a response."""
    return isinstance(event, Mapping) and "ResponseURL" in event


def serve(event: Mapping[str, Any], seconds: float, work: Callable[[], Mapping[str, Any]]) -> None:
    """Do the work if the request needs it, and respond after `seconds` at the latest.

    A deleted stack leaves the data alone, and so does an update that CloudFormation rolls back:
    a schema never goes back, and the old code works with the new schema.
    """
    reply = _Reply(event)
    timer = Timer(max(0.0, seconds), reply.fail, ["The time was over before the work was done"])
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
    """The one response to one request; a second one is not sent."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self._url = str(event["ResponseURL"])
        self._same = {name: event.get(name) for name in ("StackId", "RequestId")}
        self._same["LogicalResourceId"] = event.get("LogicalResourceId")
        self._same["PhysicalResourceId"] = event.get("PhysicalResourceId") or _PHYSICAL_ID
        self._lock = Lock()
        self._is_sent = False

    def succeed(self, data: Mapping[str, Any]) -> None:
        """Respond with the values that `Fn::GetAtt` can read."""
        self._send({"Status": "SUCCESS", "Data": {"Version": str(data["version"])}})

    def fail(self, reason: str) -> None:
        """Respond so that CloudFormation stops and rolls back."""
        self._send({"Status": "FAILED", "Reason": reason[:_REASON_CHARACTERS]})

    def _send(self, answer: Mapping[str, Any]) -> None:
        with self._lock:
            if self._is_sent:
                return
            body = json.dumps({**self._same, **answer}).encode()
            _put(self._url, body)
            self._is_sent = True


def _is_forward(event: Mapping[str, Any]) -> bool:
    """Tell whether this request creates the schema, or moves to newer code or a newer secret.

    A rollback names older code, or the same code and an older version of the secret.
    """
    if event.get("RequestType") == "Delete":
        return False
    new, old = (
        _version(event.get(name)) for name in ("ResourceProperties", "OldResourceProperties")
    )
    return new >= old


def _version(properties: object) -> tuple[int, str]:
    """Return the number at the end of the function's ARN, and the secret's version.

    `make deploy` begins the secret's version with the time when it was stored, so that versions
    have an order.
    """
    known = properties if isinstance(properties, Mapping) else {}
    number = str(known.get("Code", "")).rpartition(":")[2]
    return int(number) if number.isdigit() else 0, str(known.get("SecretVersion", ""))


def _sentence(error: Exception) -> str:
    """Return our own errors' text, which holds no secret, and only the type of other errors."""
    if type(error).__module__.partition(".")[0] in ("neon", "runner"):
        return str(error)
    return f"{type(error).__name__}; the log of Migrate says more"


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
    """PUT to a presigned address of S3, whose signature does not allow a content type."""
    headers = {"Content-Type": ""}
    status = http_client.request("PUT", url, timeout=_SECONDS, body=body, headers=headers).status
    if status != HTTPStatus.OK:
        raise http_client.HTTPClientError(f"CloudFormation's answer was {status}")
