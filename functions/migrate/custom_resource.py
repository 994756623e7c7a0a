"""CloudFormation's requests for the schema: exactly one response, in time, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import cloudformation_response
from cloudformation_response import failed
from observability import logger

_PHYSICAL_ID = "schema"

Work = Callable[[], Mapping[str, Any]]


def serve(event: Mapping[str, Any], seconds: float, work: Work) -> None:
    """Do the work if the request needs it, and respond after `seconds` at the latest.

    A deleted stack leaves the data alone, and so does an update that CloudFormation rolls back:
    a schema never goes back, and the old code works with the new schema.
    """
    with ThreadPoolExecutor(1) as thread:  # which may still be at work when the response is sent
        doing = thread.submit(lambda: work() if _is_forward(event) else {"version": "unchanged"})
        wait([doing], seconds)
        cloudformation_response.send(event, _outcome(doing), _PHYSICAL_ID)


def _outcome(doing: Future[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values that `Fn::GetAtt` can read, or why CloudFormation has to roll back."""
    if not doing.done():
        return failed("The time was over before the work was done")
    if error := doing.exception():
        logger.error("the schema could not be brought up to date", exc_info=error)
        return failed(_sentence(error))
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
