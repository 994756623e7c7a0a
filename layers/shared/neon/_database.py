"""The database as a function sees it: units of work over one reused connection."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from threading import Lock, Thread

from lambda_environment import is_lambda, is_snapshot
from neon._address import url_source
from neon._connect import Connector, backoff
from neon._connection import Connection, ConnectionLostError, PreparedRefusedError, Row
from neon._deadline import deadline_or, margin, remaining
from neon._errors import (
    ConfigurationError,
    DatabaseError,
    OutcomeUnknownError,
    StatementError,
    TimedOutError,
    UnavailableError,
)
from neon._lifecycle import exit_on_sigterm, follow_snapshots, watch
from neon._statement import GUARD_POSITION, Effect, Statement, UnitOfWork
from neon._telemetry import Telemetry

logger = logging.getLogger(__name__)

# Lambda gives INIT 10 s, and a restore from a snapshot too.
_WARM_SECONDS = 5.0
_EXIT_SECONDS = 0.5
_TRIES = 5
_READ_ONLY = "25006"
_MISSING = "; the search_path may be wrong, or the migrations have not been applied"
_ABOUT = {"42883": _MISSING, "42P01": _MISSING, "3F000": _MISSING}


class Database:
    """A Postgres database, reached over one connection that is opened once and reused.

    Thread-safe: units of work take turns. All times are in seconds.

    `url` is a connection string, or a function that fetches one within so many seconds; it is
    called again after the password in the last one was refused. `guard` is a statement that goes
    ahead of the first unit of work on each connection, in its round trip and before its
    `settings`; an SQL error that it raises refuses the unit of work as ConfigurationError.
    `timeout` bounds a unit of work outside of any `deadline` block. A connection is replaced
    after `max_idle` without use (below Neon's 300 and the 350 of AWS's load balancers) and,
    jittered, after `max_lifetime`.
    """

    def __init__(
        self,
        url: str | Callable[[float], str],
        *,
        guard: Statement | None = None,
        timeout: float = 10.0,
        max_idle: float = 240.0,
        max_lifetime: float = 3600.0,
    ) -> None:
        self.telemetry = Telemetry()
        self._connector = Connector(url, self.telemetry)
        self._connection: Connection | None = None
        self._lock = Lock()
        self._warming: Thread | None = None
        self._guard = guard
        self._timeout = timeout
        self._max_idle = max_idle
        self._max_lifetime = max_lifetime
        self._prepare = True
        watch(self)

    @classmethod
    def from_environment(cls, *, guard: Statement | None = None) -> Database:
        """Return the database of `DATABASE_URL`, or of the secret that `DATABASE_SECRET` names.

        The secret is fetched when it is first needed. Raise ConfigurationError if neither is set
        or the URL is not one.
        """
        return cls(url_source(), guard=guard)

    def start_warming(self) -> None:
        """Begin to open the connection, in a thread, while the caller goes on importing.

        Call `warm` at the end of INIT, which waits for it: a thread that is still at work then is
        frozen with the environment in the middle of a handshake, and holds the lock. Outside of
        Lambda, and where a SnapStart snapshot is being made, this does nothing.
        """
        if self._warming is None and is_lambda() and not is_snapshot():
            self._warming = Thread(target=self._open_early, name="neon", daemon=True)
            self._warming.start()

    def warm(self) -> None:
        """Open the connection now, in Lambda's INIT; elsewhere, or on failure, do nothing.

        Where a SnapStart snapshot is being made nothing is opened, but after its restore.
        """
        if not is_lambda():
            return
        exit_on_sigterm()
        if is_snapshot():
            follow_snapshots(self)
        elif self._warming:
            self._warming.join()
            self._warming = None
        else:
            self._open_early()

    def run(
        self,
        *statements: Statement,
        effect: Effect,
        settings: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> list[list[Row]]:
        """Run the statements as one transaction in one round trip; return the rows of each.

        `settings` hold for this transaction alone, as by `set_config(name, value, true)`.
        `timeout` is the most seconds that the server may work on the statements; connecting does
        not count. The `deadline` block bounds both.

        Raise TimedOutError when `timeout` has run out and the server has stopped; ConflictError,
        StatementError, ConfigurationError and UnavailableError when nothing was done; ResultError
        when it was done and a value cannot be read; and OutcomeUnknownError when the answer to a
        write was lost and `effect` forbids to send it again, or no time is left to.
        """
        end = deadline_or(self._timeout)
        unit = UnitOfWork(statements, effect, settings, timeout)
        if not self._lock.acquire(timeout=remaining(end)):
            raise UnavailableError("other threads hold the connection")
        try:
            return self._run(unit, end)
        finally:
            self._lock.release()

    def url(self) -> str:
        """Return the connection string, password included: never log it.

        Raise ConfigurationError and UnavailableError if it has to be fetched and cannot be.
        """
        return self._connector.url(deadline_or(self._timeout))

    def close(self) -> None:
        """Close the connection; the next unit of work opens another."""
        with self._lock:
            self._drop()
            self._connector.forget()

    # -- units of work -------------------------------------------------------------------------

    def _run(self, unit: UnitOfWork, end: float) -> list[list[Row]]:
        """Send the unit of work until its response arrives, as often as its effect allows."""
        unanswered = 0
        for tries in range(1, _TRIES + 1):
            try:
                return self._send(unit, end)
            except ConnectionLostError as lost:
                unanswered += lost.sent
                unit.is_resent = bool(unanswered)
                failure = self._wait_to_resend(lost, unit.effect, tries, end)
            except DatabaseError as error:
                failure = error
            if failure is not None:
                break
        assert failure is not None  # noqa: S101  for the type checker
        # The error says that nothing was done, but an earlier attempt may have done it.
        if unanswered and unit.effect is Effect.REPEATABLE:
            failure = OutcomeUnknownError(f"sent {unanswered} times without an answer: {failure}")
        raise failure

    def _wait_to_resend(
        self, lost: ConnectionLostError, effect: Effect, tries: int, end: float
    ) -> DatabaseError | None:
        """Wait until the unit of work can be sent again, or return why it cannot."""
        if lost.sent and effect is Effect.ONCE:
            return OutcomeUnknownError(f"the answer to a write was lost: {lost}")
        # The first time at once: most likely the connection had died while it was idle.
        seconds = backoff(tries) if tries > 1 else 0.0
        if tries == _TRIES or seconds >= remaining(end):
            return UnavailableError(f"no answer after {tries} tries, the last one: {lost}")
        self.telemetry.retries["lost" if lost.sent else "unsent"] += 1
        logger.info("the unit of work is sent again: %s", lost)
        time.sleep(seconds)
        return None

    def _send(self, unit: UnitOfWork, end: float) -> list[list[Row]]:
        """Send it, and send it again if the server refused only the prepared statement."""
        connection = self._connected(end)
        started = time.monotonic()
        try:
            return self._exchange(connection, unit, end)
        except PreparedRefusedError as refused:
            self._stop_preparing(connection, refused)
        except TimedOutError as error:
            if unit.timeout is not None and time.monotonic() - started >= unit.timeout:
                raise
            # The deadline was nearer, or somebody cancelled it.
            raise UnavailableError(str(error)) from None
        finally:
            if connection.closed:
                self._connection = None
        return self._send(unit, end)

    def _exchange(self, connection: Connection, unit: UnitOfWork, end: float) -> list[list[Row]]:
        """Send it over this connection; the server stops first, then we tell it to stop."""
        seconds = remaining(end)
        spare = margin(seconds)
        most = min(seconds - spare, seconds if unit.timeout is None else unit.timeout)
        until = time.monotonic() + min(most + spare, seconds - spare / 2)
        is_first = connection.session.survey is not None
        guard = self._guard if is_first else None
        batch = unit.batch(connection.session, guard, most, spare)
        try:
            results = connection.exchange(batch, until)
        except StatementError as error:
            if guard and connection.failed_at == GUARD_POSITION:
                text = f"the guard refuses this connection: {connection.failed_with}"
                raise ConfigurationError(text + _ABOUT.get(error.sqlstate, "")) from None
            if error.sqlstate == _READ_ONLY and unit.effect is not Effect.READ:
                self._leave_read_only(connection)
            raise
        if is_first:
            connection.learn(results[0])
        if connection.in_transaction:
            self._drop()
            raise StatementError("a unit of work cannot begin a transaction")
        first = len(results) - len(unit.statements)
        return [connection.rows(each) for each in results[first:]]

    def _leave_read_only(self, connection: Connection) -> None:
        """Raise the error for a server that takes no writes, and look for another one.

        After a failover the old server may answer at its address as a standby.
        """
        if connection.parameter("default_transaction_read_only") == "on":
            raise ConfigurationError(
                "default_transaction_read_only is on, for the server, the database or the role"
            ) from None
        self._drop()
        self._connector.forget()
        raise ConnectionLostError("the server is read-only", sent=False) from None

    def _stop_preparing(self, connection: Connection, refused: PreparedRefusedError) -> None:
        connection.stop_preparing()
        self.telemetry.prepared_refused += 1
        if refused.pooler:
            self._prepare = False
            logger.info("the pooler keeps no prepared statements; going on without")

    # -- the connection ------------------------------------------------------------------------

    def _connected(self, end: float) -> Connection:
        if time.monotonic() >= end:
            raise UnavailableError("no time is left")
        if self._connection is not None:
            reason = self._connection.unusable()
            if reason is None:
                return self._connection
            if reason == "expired":
                self.telemetry.expired += 1
            else:
                self.telemetry.stale += 1
            logger.info("the connection is %s; opening another", reason)
            self._drop()
        return self._open(end)

    def _open(self, end: float) -> Connection:
        connection = self._connection = Connection(
            self._connector.open(end),
            self.telemetry,
            max_idle=self._max_idle,
            max_lifetime=self._max_lifetime,
            prepare=self._prepare,
        )
        return connection

    def _open_early(self) -> None:
        end = time.monotonic() + min(_WARM_SECONDS, self._timeout)
        try:
            with self._lock:
                self._connected(end)
        except DatabaseError as error:
            logger.warning("not connected ahead of the first request: %s", error)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _restored(self) -> None:
        """Begin anew after a restore from a snapshot: nothing from before it is true any more."""
        self.close()
        self._open_early()

    def _exiting(self) -> None:
        """Close at exit, unless a thread that is still at work holds the connection."""
        if self._lock.acquire(timeout=_EXIT_SECONDS):
            self._drop()
            self._lock.release()

    def _forked(self) -> None:
        """Let go of the connection in a forked child: it and the lock are the parent's."""
        self._lock = Lock()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
