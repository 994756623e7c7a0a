"""Logs and metrics of every function: Powertools' Logger and Metrics, set up once.

Each function has one handler that is `observed`; an endpoint is so by itself. What is added to
`metrics` and `service_metrics` is written at the end of the invocation, in CloudWatch's embedded
metric format. There are two, because each line has one set of dimensions: `metrics` is what every
invocation has, by route or step; `service_metrics` is what is rare, of the whole service, and its
line is written only when something of it happened.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

__all__ = ["VERSION", "LambdaContext", "logger", "metrics", "observed", "service_metrics"]

VERSION = "1.0.0"  # also the specification's; CHANGELOG.md says what it has
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "task-api")
NAMESPACE = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "TaskApi")

logger = Logger(service=SERVICE, use_rfc3339=True)
metrics = Metrics(service=SERVICE, namespace=NAMESPACE)
service_metrics = EphemeralMetrics(service=SERVICE, namespace=NAMESPACE)

R = TypeVar("R")
LambdaHandler = Callable[[Any, LambdaContext], R]

_is_cold = True


def observed(handler: LambdaHandler[R]) -> LambdaHandler[R]:
    """Give a Lambda handler its log and its metrics.

    Log lines name the request and its trace. An error is logged with its traceback and raised
    again. The first invocation counts a cold start and names the version; every invocation writes
    its metrics.
    """

    @wraps(handler)
    def invoked(event: Any, context: LambdaContext) -> R:
        _count_cold_start()
        try:
            return handler(event, context)
        except Exception:
            logger.exception("the function failed")
            raise
        finally:
            _flush(context)

    injected: LambdaHandler[R] = logger.inject_lambda_context(invoked)
    return injected


def _count_cold_start() -> None:
    global _is_cold
    if _is_cold:
        _is_cold = False
        service_metrics.add_metric("ColdStarts", "Count", 1)
        service_metrics.add_metadata("version", VERSION)


def _flush(context: LambdaContext) -> None:
    """Write what there is, with the request that it belongs to, as Logger names it."""
    for each in (metrics, service_metrics):
        if each.metric_set:  # Powertools' own decorator warns when there is nothing to write
            each.add_metadata("level", "INFO")
            each.add_metadata("function_request_id", context.aws_request_id)
            each.add_metadata("xray_trace_id", _trace_id())
            each.flush_metrics()


def _trace_id() -> str:
    """Return the trace that Lambda names, as Logger writes it."""
    return os.environ.get("_X_AMZN_TRACE_ID", "").partition(";")[0].removeprefix("Root=")
