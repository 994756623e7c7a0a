"""CloudFormation's custom resources: send exactly one response, in time, whatever happens.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html. Without a response
a stack hangs for an hour. Here that happens only when the process ends before the handler runs;
the template's ServiceTimeout bounds that case.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from http import HTTPStatus
from typing import Any

import http_client
from observability import logger

_PHYSICAL_ID = "schema"  # never another one: CloudFormation would delete this resource
_REASON_CHARACTERS = 500  # CloudFormation takes 4096 bytes in all
_PAUSES = (0.2, 0.4)  # seconds before each further try
_SECONDS = 3.0

Work = Callable[[], Mapping[str, Any]]


def serve(event: Mapping[str, Any], seconds: float, work: Work) -> None:
    """Do the work if the request needs it, and respond after `seconds` at the latest.

    A deleted stack leaves the data alone, and so does an update that CloudFormation rolls back:
    a schema never goes back, and the old code works with the new schema.
    """
    with ThreadPoolExecutor(1) as thread:  # which may still be at work when the response is sent
        doing = thread.submit(lambda: work() if _is_forward(event) else {"version": "unchanged"})
        wait([doing], seconds)
        _respond(event, _outcome(doing))


def _outcome(doing: Future[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values that `Fn::GetAtt` can read, or why CloudFormation has to roll back."""
    if not doing.done():
        return {"Status": "FAILED", "Reason": "The time was over before the work was done"}
    if error := doing.exception():
        logger.error("the schema could not be brought up to date", exc_info=error)
        return {"Status": "FAILED", "Reason": _sentence(error)[:_REASON_CHARACTERS]}
    return {"Status": "SUCCESS", "Data": {"Version": str(doing.result()["version"])}}


def _sentence(error: BaseException) -> str:
    """Return our own errors' text, which holds no secret, and only the type of other errors."""
    if type(error).__module__.partition(".")[0] in ("neon", "runner"):
        return str(error)
    return f"{type(error).__name__}; the log of Migrate says more"


def _is_forward(event: Mapping[str, Any]) -> bool:
    """Tell whether this request creates the schema, or moves to newer code or a newer secret.

    A rollback names older code, or the same code and an older version of the secret.
    """
    new, old = (
        _version(event.get(name)) for name in ("ResourceProperties", "OldResourceProperties")
    )
    return event.get("RequestType") != "Delete" and new >= old


def _version(properties: object) -> tuple[int, str]:
    """Return the number at the end of the function's ARN, and the secret's version.

    `make deploy` begins the secret's version with the time when it was stored, so that versions
    have an order.
    """
    known = properties if isinstance(properties, Mapping) else {}
    number = str(known.get("Code", "")).rpartition(":")[2]
    return int(number) if number.isdigit() else 0, str(known.get("SecretVersion", ""))


def _respond(event: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
    same = {name: event.get(name) for name in ("StackId", "RequestId", "LogicalResourceId")}
    id_ = event.get("PhysicalResourceId") or _PHYSICAL_ID
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
        raise http_client.HTTPClientError(f"CloudFormation's answer was {status}")
