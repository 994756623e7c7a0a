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
_before = Telemetry()


def record(route: str, status: int, milliseconds: float) -> None:
    """Write one record by route, and one of the service where something happened beside it."""
    global _before
    now = tasks.telemetry()
    _metrics.add_dimension(name="route", value=route)
    _count("Requests", 1)
    _count("Errors", int(status >= 500))
    _count("RoundTrips", max(0, now.round_trips - _before.round_trips))
    _metrics.add_metric(name="Latency", unit=MetricUnit.Milliseconds, value=milliseconds)
    _metrics.flush_metrics()
    _record_events(_events(status, now), now)
    _before = now


def _events(status: int, now: Telemetry) -> dict[str, int]:
    """What is rare, and what INIT did before the first request."""
    global _is_cold
    cold, _is_cold = _is_cold, False
    before = _before
    return {
        "ColdStarts": int(cold),
        "Unavailable": int(status == 503),
        "Connects": now.connects - before.connects,
        "Reconnects": now.stale + now.expired - before.stale - before.expired,
        "Retries": now.retries.total() - before.retries.total(),
        "PoolWaits": now.retries["busy"] - before.retries["busy"],
    }


def _record_events(events: dict[str, int], now: Telemetry) -> None:
    happened = {name: count for name, count in events.items() if count > 0}
    if not happened:
        return  # each line is paid for
    for name, count in happened.items():
        _count(name, count)
    if "Connects" in happened:
        value = round(now.last_connect_ms, 1)
        _metrics.add_metric(name="ConnectTime", unit=MetricUnit.Milliseconds, value=value)
    _metrics.flush_metrics()


def _count(name: str, value: int) -> None:
    _metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
