"""A customer on a schedule, and the judge of every deployment.

CloudFormation asks once for each deployment, after the traffic has moved to the new code, and takes
the deployment back when the verdict is a failure. Any other event starts a plain run; there a
failure raises, and the alarm SmokeErrors counts it.
"""

from collections.abc import Mapping
from typing import Any

import cloudformation
import identity
import report
from api import Api
from visit import Visit

from observability import LambdaContext, logger, observed


class SmokeFailedError(Exception):
    """A customer could not do what the API promises; the text names the step and the reason."""


@observed
def handler(event: Mapping[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Use the API once as a customer does, and return the summary. Raises SmokeFailedError.

    CloudFormation gets a failure as its response instead; a missing response would hold the
    deployment up until the resource's ServiceTimeout.
    """
    if not cloudformation.is_request(event):
        return _run(cloudformation.api_url())
    cloudformation.respond(event, lambda: _run(event["ResourceProperties"]["ApiUrl"]))
    return {}


def _run(url: str) -> dict[str, Any]:
    token = identity.token(identity.secret())
    steps = []
    for step in Visit(Api(url, identity.USER, token)).run():
        steps.append(step)
        report.count(step)
    summary = report.summary(steps)
    logger.info("smoke", **summary)
    if summary["outcome"] != "ok":
        raise SmokeFailedError(f"{summary['failed']}: {summary['reason']}")
    return summary
