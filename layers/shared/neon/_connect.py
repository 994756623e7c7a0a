"""Opening a connection: one address at a time, one deadline for everything, full jitter."""

import logging
import random
import select
import time
from collections.abc import Callable
from typing import NamedTuple

from psycopg.pq import ConnStatus, PGconn, PollingStatus
from psycopg.pq.abc import PGconn as PGconnection

from neon._address import Target, Transport, resolved
from neon._deadline import part_of, remaining
from neon._errors import ConfigurationError, UnavailableError
from neon._refusal import ConnectFailedError, Refusal, said
from neon._telemetry import Telemetry

logger = logging.getLogger(__name__)

# Neon advises 10 to 15 s: https://neon.com/docs/connect/connection-latency
_ATTEMPT_SECONDS = 15.0
_TLS_SECONDS = 2.0
# An address that answers may be the wrong one by now: after a failover, the old server's.
_ADDRESS_SECONDS = 60.0
_PERMANENT = {Refusal.PERMANENT, Refusal.PASSWORD, Refusal.CERTIFICATE}
_TWO_TRIES = {Refusal.CONTROL_PLANE, Refusal.UNKNOWN}
_BASE_SECONDS = {Refusal.BUSY: 1.0}
_RETRY_AFTER_SECONDS = {Refusal.BUSY: 5.0}
_LONGEST_BACKOFF_SECONDS = 4.0


def backoff(tries: int, *, base: float = 0.1) -> float:
    """Return the seconds to wait after so many tries, with full jitter.

    https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/. From the
    system's randomness: environments restored from one snapshot share Python's.
    """
    longest = min(_LONGEST_BACKOFF_SECONDS, base * 2.0**tries)
    return random.SystemRandom().uniform(0.0, longest)


class _Limits(NamedTuple):
    """When each stage of one attempt ends, by `time.monotonic`.

    TCP gets a share, so that a dead address leaves time for the next one. TLS gets a shorter
    limit until we know whether the server supports direct TLS: one that does not may wait for
    more instead of refusing. The rest gets all the time, because a database wakes up there.
    """

    tcp: float
    tls: float
    all: float

    def of(self, status: int) -> tuple[float, str]:
        """Return the limit of the stage that a connection is in, and the stage's name."""
        if status == ConnStatus.STARTED:
            return self.tcp, "TCP"
        if status in (ConnStatus.MADE, ConnStatus.SSL_STARTUP):
            return self.tls, "SSL"
        return self.all, "login"


class Connector:
    """Opens connections to one database and remembers what worked."""

    def __init__(self, url: str | Callable[[float], str], telemetry: Telemetry) -> None:
        self._source = url
        self._telemetry = telemetry
        self._url = ""
        self._target: Target | None = None
        self._addresses: list[str] = []
        self._resolved_at = 0.0
        self._transport: Transport | None = None

    def open(self, end: float) -> PGconnection:
        """Return a new connection, after retries until `end` where they can help.

        Raise ConfigurationError at once for what a person has to change, else UnavailableError.
        """
        started, tries = time.monotonic(), 0
        while True:
            try:
                return self._timed(end)
            except ConnectFailedError as failure:
                tries += 1
                self._wait_or_raise(failure, tries, started, end)

    def url(self, end: float) -> str:
        """Return the connection string, fetched until `end` if it has not been yet."""
        self._known_target(end)
        return self._url

    def forget(self) -> None:
        """Resolve the host again next time."""
        self._addresses = []

    def _timed(self, end: float) -> PGconnection:
        started = time.monotonic()
        pgconn = self._attempt(min(end, started + _ATTEMPT_SECONDS))
        milliseconds = (time.monotonic() - started) * 1000
        self._telemetry.connects += 1
        self._telemetry.last_connect_ms = milliseconds
        logger.info("connected in %.0f ms", milliseconds)
        return pgconn

    def _wait_or_raise(
        self, failure: ConnectFailedError, tries: int, started: float, end: float
    ) -> None:
        """Return when another try makes sense, after waiting for it."""
        refusal, text = failure.refusal, str(failure)
        seconds = 0.0
        if not self._is_renewed(refusal, end):
            if refusal in _PERMANENT:
                raise ConfigurationError(f"the database refuses to connect: {text}")
            seconds = backoff(tries, base=_BASE_SECONDS.get(refusal, 0.1))
        spent = refusal in _TWO_TRIES and tries >= 2
        if spent or seconds >= remaining(end):
            raise UnavailableError(
                f"no connection: tried {tries} times in {time.monotonic() - started:.1f} s,"
                f" the last one: {text}",
                retry_after=_RETRY_AFTER_SECONDS.get(refusal, 1.0),
            )
        self._telemetry.retries[refusal.value] += 1
        logger.info("try %d to connect failed (%s), next in %.2f s", tries, text, seconds)
        time.sleep(seconds)

    def _is_renewed(self, refusal: Refusal, end: float) -> bool:
        """Return whether the password or address that was refused is replaced by a newer one now.

        A refused password may come from an old secret, a wrong certificate from an old address. A
        refusal in another language than English may be the password's.
        """
        if refusal is Refusal.CERTIFICATE and self._addresses:
            self._addresses = []
            return True
        is_password = refusal in (Refusal.PASSWORD, Refusal.UNKNOWN)
        if not is_password or isinstance(self._source, str):
            return False
        before, self._target = self._url, None
        return self.url(end) != before

    def _attempt(self, end: float) -> PGconnection:
        """Try every address once, and go on to the next only if nobody answered."""
        target = self._known_target(end)
        addresses = self._current_addresses(target)
        for position, address in enumerate(addresses):
            share = part_of(end, len(addresses) - position)
            try:
                pgconn = self._secured(target, address, share, end)
            except ConnectFailedError as failure:
                if failure.refusal is not Refusal.NETWORK:
                    raise
                last = failure
            else:
                self._addresses = [address, *(each for each in addresses if each != address)]
                return pgconn
        self._addresses = []
        raise last

    def _current_addresses(self, target: Target) -> list[str]:
        """Return the addresses, looked up if that was long ago; the one that worked comes first."""
        if self._addresses and time.time() - self._resolved_at <= _ADDRESS_SECONDS:
            return self._addresses
        last, self._addresses = self._addresses[:1], []  # none is known to be good now
        self._resolved_at = time.time()
        return sorted(resolved(target), key=lambda address: address not in last)

    def _secured(self, target: Target, address: str, share: float, end: float) -> PGconnection:
        """Connect by the way into TLS that worked before, or by another one that may work."""
        untried = list(target.transports)
        transport: Transport | None = self._transport or untried[0]
        while transport:
            untried.remove(transport)
            is_guess = transport.negotiation == "direct" and transport != self._transport
            tls = min(part_of(end, 3), time.monotonic() + _TLS_SECONDS) if is_guess else end
            try:
                pgconn = _dial(target.conninfo(address, transport), _Limits(share, tls, end))
                _check_encoding(pgconn)
            except ConnectFailedError as failure:
                transport = _instead_of(transport, untried, str(failure))
                if transport is None:
                    raise
            else:
                self._transport = transport
                return pgconn
        raise AssertionError("unreachable: the loop returns or raises")

    def _known_target(self, end: float) -> Target:
        if self._target is None:
            source = self._source
            self._url = source if isinstance(source, str) else source(remaining(end))
            self._target = Target(self._url)
            self._addresses, self._transport = [], None
        return self._target


def _instead_of(failed: Transport, untried: list[Transport], text: str) -> Transport | None:
    """Return the way to try next, or None if the failure has another reason."""
    if "certificate verify failed" in text:
        others = (each for each in untried if each.negotiation == failed.negotiation)
    elif "SSL" in text and failed.negotiation == "direct":
        others = (each for each in untried if each.roots == failed.roots)
    else:
        return None
    return next(others, None)


def _dial(conninfo: bytes, limits: _Limits) -> PGconnection:
    """Make one attempt on one address, in one way."""
    pgconn = PGconn.connect_start(conninfo)
    try:
        _finish(pgconn, limits)
    except BaseException:
        pgconn.finish()
        raise
    return pgconn


def _check_encoding(pgconn: PGconnection) -> None:
    """Raise ConfigurationError for a session that cannot hold every character."""
    for name in (b"server_encoding", b"client_encoding"):
        if (encoding := pgconn.parameter_status(name) or b"UTF8") != b"UTF8":
            pgconn.finish()
            raise ConfigurationError(
                f"{name.decode()} is {encoding.decode()}, which cannot hold every character;"
                " the database has to be made with, and its role to use, UTF8"
            )


def _finish(pgconn: PGconnection, limits: _Limits) -> None:
    events = select.POLLOUT
    while True:
        if pgconn.status == ConnStatus.BAD:
            raise ConnectFailedError(_error_message(pgconn))
        limit, stage = limits.of(pgconn.status)
        poll = select.poll()  # anew each time: libpq may have opened another socket
        poll.register(pgconn.socket, events)
        if not poll.poll(remaining(limit) * 1000):
            raise ConnectFailedError(f"the server does not answer in time ({stage})")
        state = pgconn.connect_poll()
        if state == PollingStatus.OK:
            return
        events = select.POLLIN if state == PollingStatus.READING else select.POLLOUT


def _error_message(pgconn: PGconnection) -> str:
    return said(pgconn.get_error_message().partition("\n")[0].strip())
