"""What a request did, for its log and its metrics: the caller by an alias, the database's work.

Waiting in the pooler is not visible from here; being turned away from a full pool is (`PoolWaits`).
"""

from __future__ import annotations

import hmac

from neon import DatabaseError, Telemetry
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


def since_the_last_request() -> dict[str, float]:
    """The round trips of this request, and what is rare if it happened.

    The first request is charged with what INIT did.
    """
    global _last, _before
    telemetry = database.telemetry()
    before = _before if telemetry is _last else {}
    _last, _before = telemetry, _counts(telemetry)
    happened = {name: count - before.get(name, 0) for name, count in _before.items()}
    work: dict[str, float] = {"RoundTrips": happened.pop("RoundTrips")}
    work |= {name: count for name, count in happened.items() if count}
    return (
        work | {"ConnectTime": round(telemetry.last_connect_ms, 1)} if "Connects" in work else work
    )


def _counts(telemetry: Telemetry) -> dict[str, int]:
    return {
        "RoundTrips": telemetry.round_trips,
        "Connects": telemetry.connects,
        "Reconnects": telemetry.stale + telemetry.expired,
        "Retries": telemetry.retries.total(),
        "PoolWaits": telemetry.retries["busy"],
    }
