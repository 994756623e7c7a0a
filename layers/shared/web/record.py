"""One line for each request: what people look for in the log, and what CloudWatch counts.

Its metrics are in the embedded format (EMF), by route, and of the service where something rare
happened beside it. Powertools' Logger and Metrics would write two lines, each of which is paid for,
and take a quarter of the time of a warm request (docs/performance.md).
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

The gateway counts requests and errors, too; only the function knows whether it started for this
one and what its connection went through. Waiting in the pooler is not visible from here, being
turned away from a full pool is (`PoolWaits`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import tasks
from neon import Telemetry

_BY_ROUTE = ("Requests", "Errors", "RoundTrips", "Latency")
_MILLISECONDS = {"Latency", "ConnectTime"}

_is_cold = True
_counted: dict[str, int] = {}


def write(request_id: str, route: str, status: int, milliseconds: float) -> None:
    """Write the line of a request, which says nothing of what the request said."""
    telemetry = tasks.telemetry()
    happened = _since_the_last(telemetry)
    counted = {
        "Requests": 1,
        "Errors": int(status >= 500),
        "RoundTrips": happened.pop("RoundTrips"),
        "Latency": round(milliseconds, 1),
    }
    events = _events(happened, status, telemetry.last_connect_ms)
    now = time.time()
    line = {
        "level": "INFO",
        "message": "request",
        "timestamp": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        "service": os.environ.get("POWERTOOLS_SERVICE_NAME", "task-api"),
        "function_request_id": request_id,
        "xray_trace_id": os.environ.get("_X_AMZN_TRACE_ID", "")[5:40],  # without its `Root=`
        "route": route,
        "status": status,
        **counted,
        **events,
        "_aws": {"Timestamp": int(now * 1000), "CloudWatchMetrics": _declared(events)},
    }
    # In one piece: the runtime's standard output has no buffer, and `print` writes the end apart.
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")


def _events(happened: dict[str, int], status: int, connect_ms: float) -> dict[str, float]:
    """What is rare, if it happened."""
    global _is_cold
    cold, _is_cold = _is_cold, False
    counts = happened | {"ColdStarts": int(cold), "Unavailable": int(status == 503)}
    events: dict[str, float] = {name: count for name, count in counts.items() if count}
    return events | {"ConnectTime": round(connect_ms, 1)} if "Connects" in events else events


def _since_the_last(telemetry: Telemetry) -> dict[str, int]:
    """What the database did for this request; for the first one, in INIT as well."""
    global _counted
    before, _counted = _counted, _counts(telemetry)
    return {name: max(0, count - before.get(name, 0)) for name, count in _counted.items()}


def _counts(telemetry: Telemetry) -> dict[str, int]:
    return {
        "RoundTrips": telemetry.round_trips,
        "Connects": telemetry.connects,
        "Reconnects": telemetry.stale + telemetry.expired,
        "Retries": telemetry.retries.total(),
        "PoolWaits": telemetry.retries["busy"],
    }


def _declared(events: dict[str, float]) -> list[dict[str, Any]]:
    """Which members of the line are metrics, and by which others they are told apart."""
    by_route = _directive(_BY_ROUTE, "route", "service")
    return [by_route, _directive(events, "service")] if events else [by_route]


def _directive(names: Iterable[str], *dimensions: str) -> dict[str, Any]:
    return {
        "Namespace": os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "TaskApi"),
        "Dimensions": [dimensions],
        "Metrics": [{"Name": name, "Unit": _unit(name)} for name in names],
    }


def _unit(name: str) -> str:
    return "Milliseconds" if name in _MILLISECONDS else "Count"
