"""What a run says: the metrics of each step and a summary of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from visit import Step

from observability import metrics


def count(step: Step) -> None:
    """Write one step's metrics, by `service` and `step`."""
    metrics.add_dimension("step", step.name)
    metrics.add_metric("StepTime", "Milliseconds", step.ms)
    metrics.add_metric("StepSuccess", "Count", int(not step.error))
    metrics.flush_metrics()


def summary(steps: Sequence[Step]) -> dict[str, Any]:
    """Return the whole run: `outcome` is `ok` or `failed`; then the step and the reason follow."""
    failed = next((step for step in steps if step.error), None)
    line = {"outcome": "failed" if failed else "ok", "ms": round(sum(s.ms for s in steps), 1)}
    return line | ({"failed": failed.name, "reason": failed.error} if failed else {})
