"""Opening a connection: one address at a time, one deadline for everything, full jitter."""

from __future__ import annotations

import logging
import random
import select
import time
from collections.abc import Callable
from typing import NamedTuple

from psycopg.pq import ConnStatus, PGconn, PollingStatus
from psycopg.pq.abc import PGconn as PGconnection

from neon._address import Target, Transport, resolved
from neon._deadline import part_of
from neon._errors import ConfigurationError, UnavailableError
from neon._refusal import ConnectFailed, Refusal
from neon._telemetry import Telemetry

__all__ = ["Connector", "pause"]

logger = logging.getLogger(__name__)

# Neon advises 10 to 15 s: https://neon.com/docs/connect/connection-latency
_ATTEMPT_SECONDS = 15.0
_TLS_SECONDS = 2.0
_TWO_TRIES = {Refusal.CONTROL_PLANE, Refusal.UNKNOWN}
_BASE_SECONDS = {Refusal.BUSY: 1.0}
_RETRY_AFTER_SECONDS = {Refusal.BUSY: 5.0}
_LONGEST_PAUSE_SECONDS = 4.0


def pause(tries: int, *, base: float = 0.1) -> float:
    """Seconds to wait after so many tries, with full jitter.

    https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/. From the
    system's randomness: environments restored from one snapshot share Python's.
    """
    longest = min(_LONGEST_PAUSE_SECONDS, base * 2.0**tries)
    return random.SystemRandom().uniform(0.0, longest)


class _Limits(NamedTuple):
    """Until when, by `time.monotonic`, each stage of one attempt may last.

    TCP has a share, so that a dead address leaves time for the next one. TLS has less than all
    while it is not known whether the server understands direct TLS: those that do not may wait
    for more instead of refusing. The rest has all the time: that is where a database wakes up.
    """

    tcp: float
    tls: float
    all: float

    def of(self, status: int) -> tuple[float, str]:
        """The limit of the stage that a connection is in, and the stage's name."""
        if status == ConnStatus.STARTED:
            return self.tcp, "TCP"
        if status in (ConnStatus.MADE, ConnStatus.SSL_STARTUP):
            return self.tls, "SSL"
        return self.all, "login"


class Connector:
    """Opens connections to one database and remembers what worked."""

    def __init__(self, url: str | Callable[[], str], telemetry: Telemetry) -> None:
        self._source = url
        self._telemetry = telemetry
        self._url = ""
        self._target: Target | None = None
        self._addresses: list[str] = []
        self._transport: Transport | None = None

    def open(self, end: float) -> PGconnection:
        """A new connection, retried until `end` by `time.monotonic` where that can help.

        Raises ConfigurationError at once for what a person has to change, else UnavailableError.
        """
        started, tries = time.monotonic(), 0
        while True:
            try:
                return self._timed(end)
            except ConnectFailed as failure:
                tries += 1
                self._pause_or_raise(failure, tries, started, end)

    def url(self) -> str:
        """The connection string, fetched if it has not been. Raises ConfigurationError."""
        self._known_target()
        return self._url

    def forget(self) -> None:
        """Resolve the host again next time."""
        self._addresses = []

    def _timed(self, end: float) -> PGconnection:
        started = time.monotonic()
        pgconn = self._attempt(min(end, started + _ATTEMPT_SECONDS))
        milliseconds = (time.monotonic() - started) * 1000
        self._telemetry.connects += 1
        self._telemetry.connect_ms += milliseconds
        self._telemetry.last_connect_ms = milliseconds
        logger.info("connected in %.0f ms", milliseconds)
        return pgconn

    def _pause_or_raise(
        self, failure: ConnectFailed, tries: int, started: float, end: float
    ) -> None:
        """Return when another try makes sense, having waited for it."""
        refusal, text = failure.refusal, str(failure)
        if refusal is Refusal.PASSWORD and tries == 1 and self._is_renewed():
            self._telemetry.retries[refusal.value] += 1
            return
        if refusal in (Refusal.PERMANENT, Refusal.PASSWORD):
            raise ConfigurationError(f"the database refuses to connect: {text}")
        seconds = pause(tries, base=_BASE_SECONDS.get(refusal, 0.1))
        spent = refusal in _TWO_TRIES and tries >= 2
        if spent or time.monotonic() + seconds >= end:
            raise UnavailableError(
                f"no connection: tried {tries} times in {time.monotonic() - started:.1f} s,"
                f" the last one: {text}",
                retry_after=_RETRY_AFTER_SECONDS.get(refusal, 1.0),
            )
        self._telemetry.retries[refusal.value] += 1
        logger.info("try %d to connect failed (%s), next in %.2f s", tries, text, seconds)
        time.sleep(seconds)

    def _attempt(self, end: float) -> PGconnection:
        """Every address once, on to the next only where nobody answered."""
        target = self._known_target()
        addresses = self._addresses = self._addresses or resolved(target)
        for position, address in enumerate(addresses):
            now = time.monotonic()
            share = now + (end - now) / (len(addresses) - position)
            try:
                pgconn = self._secured(target, address, share, end)
            except ConnectFailed as failure:
                if failure.refusal is not Refusal.NETWORK:
                    raise
                last = failure
            else:
                self._addresses = [address, *(each for each in addresses if each != address)]
                return pgconn
        self._addresses = []
        raise last

    def _secured(self, target: Target, address: str, share: float, end: float) -> PGconnection:
        """A connection by the way into TLS that worked before, or by another that may."""
        untried = list(target.transports)
        transport: Transport | None = self._transport or untried[0]
        while transport:
            untried.remove(transport)
            is_guess = transport.negotiation == "direct" and transport != self._transport
            tls = min(part_of(end, 3), time.monotonic() + _TLS_SECONDS) if is_guess else end
            try:
                pgconn = _dial(target.conninfo(address, transport), _Limits(share, tls, end))
            except ConnectFailed as failure:
                transport = _instead_of(transport, untried, str(failure))
                if transport is None:
                    raise
            else:
                self._transport = transport
                return pgconn
        raise AssertionError("unreachable: the loop returns or raises")

    def _known_target(self) -> Target:
        if self._target is None:
            self._url = self._source if isinstance(self._source, str) else self._source()
            self._target = Target.of(self._url)
            self._addresses, self._transport = [], None
        return self._target

    def _is_renewed(self) -> bool:
        """Whether the source of the connection string has another one by now."""
        if isinstance(self._source, str):
            return False
        before, self._target = self._url, None
        self._known_target()
        return self._url != before


def _instead_of(failed: Transport, untried: list[Transport], text: str) -> Transport | None:
    """The way to try after one that failed, if it was the way that failed."""
    if "certificate verify failed" in text:
        others = (each for each in untried if each.negotiation == failed.negotiation)
    elif "SSL" in text and failed.negotiation == "direct":
        others = (each for each in untried if each.roots == failed.roots)
    else:
        return None
    return next(others, None)


def _dial(conninfo: bytes, limits: _Limits) -> PGconnection:
    """One attempt on one address, in one way."""
    pgconn = PGconn.connect_start(conninfo)
    try:
        _finish(pgconn, limits)
    except BaseException:
        pgconn.finish()
        raise
    return pgconn


def _finish(pgconn: PGconnection, limits: _Limits) -> None:
    events = select.POLLOUT
    while True:
        if pgconn.status == ConnStatus.BAD:
            raise ConnectFailed(_said_by(pgconn))
        limit, stage = limits.of(pgconn.status)
        poll = select.poll()  # anew each time: libpq may have opened another socket
        poll.register(pgconn.socket, events)
        if not poll.poll(max(0.0, (limit - time.monotonic()) * 1000)):
            raise ConnectFailed(f"the server does not answer in time ({stage})")
        state = pgconn.connect_poll()
        if state == PollingStatus.OK:
            return
        events = select.POLLIN if state == PollingStatus.READING else select.POLLOUT


def _said_by(pgconn: PGconnection) -> str:
    return " ".join(pgconn.get_error_message().split("\n")[0:1]).strip()
