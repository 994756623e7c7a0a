"""Logs and metrics of every function: Powertools' Logger and Metrics, set up once.

Each function has one handler that is `observed`; an endpoint is so by itself. Add what a request's
line should say with `metrics.add_metric` and `metrics.add_metadata`; it is written at the end of
the invocation, in CloudWatch's embedded metric format.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

__all__ = ["LambdaContext", "logger", "metrics", "observed"]

SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "task-api")
NAMESPACE = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "TaskApi")

logger = Logger(service=SERVICE, use_rfc3339=True)
metrics = Metrics(service=SERVICE, namespace=NAMESPACE)

R = TypeVar("R")
LambdaHandler = Callable[[Any, LambdaContext], R]

_is_cold = True


def observed(handler: LambdaHandler[R]) -> LambdaHandler[R]:
    """Give a Lambda handler its log and its metrics.

    Log lines name the request and its trace. An error is logged with its traceback and raised
    again. The first invocation counts a cold start, and every invocation writes its metrics.
    """

    @wraps(handler)
    def invoked(event: Any, context: LambdaContext) -> R:
        try:
            return handler(event, context)
        except Exception:
            logger.exception("the function failed")
            raise
        finally:
            _flush(context)

    injected: LambdaHandler[R] = logger.inject_lambda_context(invoked)
    return injected


def _flush(context: LambdaContext) -> None:
    """Write the metrics, if there are any: Powertools' own decorator warns when there are none."""
    global _is_cold
    if _is_cold:
        _is_cold = False
        metrics.provider.add_cold_start_metric(context)
    if metrics.metric_set:
        metrics.flush_metrics()
