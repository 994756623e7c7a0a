"""What a request did, for its log and its metrics: the caller by an alias, the database's work.

Waiting in the pooler is not visible from here; being turned away from a full pool is (`PoolWaits`).
"""

from __future__ import annotations

import hmac

from neon import DatabaseError, Telemetry
from observability import metrics, service_metrics
from tasks import database

_last = Telemetry()
_before: dict[str, int] = {}


def actor(subject: str) -> str:
    """Return an alias of the caller, which tells nothing to those who read the log.

    It is a keyed hash, alike in every function, so that a user's requests can be counted.
    """
    try:
        key = database.derive_key(b"actor")
    except DatabaseError:
        return "unknown"
    return hmac.digest(key, subject.encode("utf-8", "surrogatepass"), "sha256")[:8].hex()


def account() -> None:
    """Count the round trips since the last request, and what is rare if it happened.

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
