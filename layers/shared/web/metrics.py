"""What one request was, as metrics in the embedded format that CloudWatch reads from the log.

The gateway counts requests and errors, too; only the function knows whether it started for this
one and what its connection went through. Waiting in the pooler is not visible from here, being
turned away from a full pool is (`PoolWaits`).
"""

from __future__ import annotations

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

import tasks
from neon import Telemetry

__all__ = ["record"]

_metrics = Metrics()
_is_cold = True
_counted: dict[str, int] = {}


def record(route: str, status: int, milliseconds: float) -> None:
    """Write one record by route, and one of the service where something happened beside it."""
    telemetry = tasks.telemetry()
    happened = _since_the_last(telemetry)
    _metrics.add_dimension(name="route", value=route)
    _count("Requests", 1)
    _count("Errors", int(status >= 500))
    _count("RoundTrips", happened.pop("RoundTrips"))
    _metrics.add_metric(name="Latency", unit=MetricUnit.Milliseconds, value=milliseconds)
    _metrics.flush_metrics()
    _record_events(happened | _of_this_request(status), telemetry.last_connect_ms)


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


def _of_this_request(status: int) -> dict[str, int]:
    global _is_cold
    cold, _is_cold = _is_cold, False
    return {"ColdStarts": int(cold), "Unavailable": int(status == 503)}


def _record_events(events: dict[str, int], connect_ms: float) -> None:
    happened = {name: count for name, count in events.items() if count}
    if not happened:
        return  # each line is paid for
    for name, count in happened.items():
        _count(name, count)
    if "Connects" in happened:
        value = round(connect_ms, 1)
        _metrics.add_metric(name="ConnectTime", unit=MetricUnit.Milliseconds, value=value)
    _metrics.flush_metrics()


def _count(name: str, value: int) -> None:
    _metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
