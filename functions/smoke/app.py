"""A customer on a schedule, and the gate of every rollout.

An event with a DeploymentId comes from CodeDeploy, which waits for a verdict; any other event
starts a plain run. A failure raises, and that alarms.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import identity
import report
from api import Api
from visit import Visit


class SmokeFailed(Exception):
    """A customer could not do what the API promises; the text names the step and the reason."""


def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Use the API once as a customer does. Raises SmokeFailed.

    Whatever goes wrong, CodeDeploy is told; else its deployment would wait for an hour.
    """
    if "DeploymentId" not in event:
        return _run()
    verdict = "Failed"
    try:
        summary = _run()
        verdict = "Succeeded"
    finally:
        _tell_codedeploy(event, verdict)
    return summary


def _run() -> dict[str, Any]:
    token = identity.token(identity.secret())
    visit = Visit(Api(os.environ["API_URL"], identity.USER, token))
    steps = []
    for step in visit.run():
        steps.append(step)
        print(report.metric(os.environ["SERVICE"], step))
    summary = report.summary(steps)
    print(json.dumps({"message": "smoke", **summary}))
    if summary["outcome"] != "ok":
        raise SmokeFailed(f"{summary['failed']}: {summary['reason']}")
    return summary


def _tell_codedeploy(event: Mapping[str, Any], verdict: str) -> None:
    import boto3  # Lambda's own; only a rollout needs it, and nobody waits for this function

    boto3.client("codedeploy").put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=verdict,
    )
