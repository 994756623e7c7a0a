"""A customer on a schedule, and the judge of every deployment.

CloudFormation asks once for each deployment, after the traffic has moved to the new code, and takes
the deployment back when the verdict is a failure. Any other event starts a plain run; there a
failure raises, and the alarm SmokeErrors counts it.
"""

from collections.abc import Mapping
from typing import Any

import cloudformation
from api import Api, secret, token
from visit import Step, visit

from observability import LambdaContext, logger, metrics, observed


class SmokeFailedError(Exception):
    """A customer could not do what the API promises; the text names the step and the reason."""


@observed
def handler(event: Mapping[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Use the API once as a customer does, and return the summary. Raise SmokeFailedError.

    CloudFormation gets a failure as its response instead; a missing response would hold the
    deployment up until the resource's ServiceTimeout.
    """
    if not isinstance(event, Mapping) or "ResponseURL" not in event:
        return _run()
    cloudformation.respond(event, _run)
    return {}


def _run() -> dict[str, Any]:
    steps = []
    for step in visit(Api(cloudformation.api_url(), token(secret()))):
        steps.append(step)
        _count(step)
    last = steps[-1]
    summary: dict[str, Any] = {"outcome": "ok", "ms": round(sum(step.ms for step in steps), 1)}
    if last.error:
        summary |= {"outcome": "failed", "failed": last.name, "reason": last.error}
    logger.info("smoke", **summary)
    if last.error:
        raise SmokeFailedError(f"{last.name}: {last.error}")
    return summary


def _count(step: Step) -> None:
    """Write one step's metrics, by `service` and `step`."""
    metrics.add_dimension("step", step.name)
    metrics.add_metric("StepTime", "Milliseconds", step.ms)
    metrics.add_metric("StepSuccess", "Count", int(not step.error))
    metrics.flush_metrics()
