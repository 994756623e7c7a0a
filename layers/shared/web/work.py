"""The database's work in each request, for its metrics.

Waiting in the pooler is not visible from here; being turned away from a full pool is (`PoolWaits`).
"""

from __future__ import annotations

from neon import Telemetry
from observability import metrics, service_metrics
from tasks import database

_last = Telemetry()
_before: dict[str, int] = {}


def account() -> None:
    """Count the round trips since the last request, and rare events if there were any.

    The first request is charged with what INIT did.
    """
    global _last, _before
    telemetry = database.telemetry()
    before = _before if telemetry is _last else {}
    _last, _before = telemetry, _counts(telemetry)
    for name, count in _before.items():
        happened = count - before.get(name, 0)
        if name == "RoundTrips":
            metrics.add_metric(name, "Count", happened)
        elif happened:
            service_metrics.add_metric(name, "Count", happened)
    if telemetry.connects > before.get("Connects", 0):
        connect_ms = round(telemetry.last_connect_ms, 1)
        service_metrics.add_metric("ConnectTime", "Milliseconds", connect_ms)


def _counts(telemetry: Telemetry) -> dict[str, int]:
    return {
        "RoundTrips": telemetry.round_trips,
        "Connects": telemetry.connects,
        "Reconnects": telemetry.stale + telemetry.expired,
        "Retries": telemetry.retries.total(),
        "PoolWaits": telemetry.retries["busy"],
    }
