"""What a run says: a metric for each step and one line for the whole.

Embedded metric format: CloudWatch makes metrics of these lines, without a call.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from visit import Step

_METRICS = [
    {"Name": "StepTime", "Unit": "Milliseconds"},
    {"Name": "StepSuccess", "Unit": "Count"},
]


def metric(service: str, step: Step) -> str:
    """One step's line in embedded metric format."""
    declared = {
        "Namespace": "TaskApi",
        "Dimensions": [["service", "step"]],
        "Metrics": _METRICS,
    }
    return json.dumps(
        {
            "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [declared]},
            "service": service,
            "step": step.name,
            "StepTime": step.ms,
            "StepSuccess": int(not step.error),
        }
    )


def summary(steps: Sequence[Step]) -> dict[str, Any]:
    """The whole run: `outcome` is `ok` or `failed`, then with the step and what was wrong."""
    failed = next((step for step in steps if step.error), None)
    line = {"outcome": "failed" if failed else "ok", "ms": round(sum(s.ms for s in steps), 1)}
    return line | ({"failed": failed.name, "reason": failed.error} if failed else {})
