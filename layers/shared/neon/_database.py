"""The database as a function sees it: units of work over one reused connection."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock, Thread

from psycopg.pq.abc import PGresult

from neon import _lifecycle
from neon._connect import Connector, pause
from neon._connection import Connection, ConnectionLostError, PreparedRefused, Row
from neon._deadline import deadline_or, part_of, statement_timeout
from neon._errors import (
    ConfigurationError,
    DatabaseError,
    OutcomeUnknownError,
    StatementError,
    TimedOutError,
    UnavailableError,
)
from neon._secret import secret_url
from neon._statement import Bound, Effect, Statement, bind, bind_settings
from neon._telemetry import Telemetry
from neon._transaction import Transaction

__all__ = ["Database"]

logger = logging.getLogger(__name__)

# Lambda gives INIT 10 s, and a restore from a snapshot too.
_WARM_SECONDS = 5.0
_EXIT_SECONDS = 0.5
_RESENDS = 4


class Database:
    """A Postgres database, reached over one connection that is opened once and reused.

    Thread-safe: units of work take turns. All times are in seconds.

    `url` is a connection string, or a function that fetches one; the function is asked again
    when the password in the last one was refused. `seconds` bounds a unit of work outside of any
    `deadline` block. A connection is replaced after `max_idle` without use (below Neon's 300 and
    the 350 of AWS's load balancers) and, jittered, after `max_life`. When a reused connection
    stays silent for `patience`, a unit of work that may be repeated moves to a new one.
    `prepare=False` sends every statement unprepared.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        guard: Statement | None = None,
        seconds: float = 10.0,
        max_idle: float = 240.0,
        max_life: float = 3600.0,
        patience: float = 3.0,
        prepare: bool = True,
    ) -> None:
        self.telemetry = Telemetry()
        self._connector = Connector(url, self.telemetry)
        self._guard = guard
        self._connection: Connection | None = None
        self._lock = RLock()
        self._is_in_transaction = False
        self._warming: Thread | None = None
        self._seconds = seconds
        self._max_idle = max_idle
        self._max_life = max_life
        self._patience = patience
        self._prepare = prepare
        _lifecycle.watch(self)

    @classmethod
    def from_environment(cls, *, fetch: Callable[[str], str] = secret_url) -> Database:
        """The database that `DATABASE_URL` holds, or the secret that `DATABASE_SECRET` names.

        `fetch` turns the secret's name into a connection string, when first needed. Raises
        ConfigurationError when neither is set, or the URL is none.
        """
        url, secret = os.environ.get("DATABASE_URL", ""), os.environ.get("DATABASE_SECRET", "")
        if url.startswith(("postgres://", "postgresql://")):
            return cls(url)
        if secret and not url:
            return cls(lambda: fetch(secret))
        raise ConfigurationError("DATABASE_URL has to be a postgresql:// connection string")

    def start_warming(self) -> None:
        """Begin to open the connection, in a thread, while the caller goes on importing.

        Call `warm` at the end of INIT, which waits for it: a thread that is still at work then is
        frozen with the environment in the middle of a handshake, and holds the lock. Outside of
        Lambda, and where a SnapStart snapshot is being made, this does nothing.
        """
        if self._warming is None and _lifecycle.is_lambda() and not _lifecycle.is_snapshot():
            self._warming = Thread(target=self._open_early, name="neon", daemon=True)
            self._warming.start()

    def warm(self) -> None:
        """Open the connection now, in Lambda's INIT; elsewhere, or on failure, do nothing.

        Where a SnapStart snapshot is being made nothing is opened, but after its restore.
        """
        if not _lifecycle.is_lambda():
            return
        _lifecycle.exit_on_sigterm()
        if _lifecycle.is_snapshot():
            _lifecycle.follow_snapshots(self)
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
        """Run the statements as one transaction in one round trip; the rows of each, as dicts.

        `settings` hold for this transaction alone, as by `set_config(name, value, true)`.

        Raises ConflictError, StatementError, ConfigurationError and UnavailableError when nothing was done, and
        OutcomeUnknownError when the answer to a write was lost and `effect` forbids to send it again,
        or no time is left to.
        """
        end = own = deadline_or(self._seconds)
        if timeout is not None:
            end = min(end, time.monotonic() + timeout)
        self._hold(end)
        try:
            return self._run(statements, effect, settings or {}, end)
        except UnavailableError as error:
            if end < own and time.monotonic() >= end - (timeout or 0) / 4:
                raise TimedOutError("the unit of work took longer than its timeout") from error
            raise
        finally:
            self._lock.release()

    @contextmanager
    def transaction(self, *, settings: Mapping[str, str] | None = None) -> Iterator[Transaction]:
        """A transaction for what has to look at an answer before the next statement.

        One round trip for each `run` in the block and one for the commit; none when it ran
        nothing. It is rolled back when the block raises. Lost before its commit, it is
        UnavailableError, and nothing was done. A commit whose answer is lost is settled on a new
        connection by `pg_xact_status`; OutcomeUnknownError where that is out of reach until the
        deadline. The connection is held for the whole block: keep it short.
        """
        end = deadline_or(self._seconds)
        self._hold(end)
        transaction = Transaction(self, settings or {}, end)
        self._is_in_transaction = True
        try:
            yield transaction
            transaction._commit()
        finally:
            self._is_in_transaction = False
            transaction._abort()
            self._lock.release()

    def derive_key(self, purpose: bytes) -> bytes:
        """A secret key of 32 bytes that everybody with the same connection string derives alike.

        It changes with the password. Raises ConfigurationError and UnavailableError, as connecting does.
        """
        return hmac.new(self._connector.url().encode(), purpose, hashlib.sha256).digest()

    def close(self) -> None:
        """Close the connection; the next unit of work opens another."""
        with self._lock:
            self._drop()
            self._connector.forget()

    # -- units of work -------------------------------------------------------------------------

    def _run(
        self,
        statements: Sequence[Statement],
        effect: Effect,
        settings: Mapping[str, str],
        end: float,
    ) -> list[list[Row]]:
        """Send until answered, as often as `effect` allows."""
        self.telemetry.units += 1
        unanswered = 0
        for tries in range(1, _RESENDS + 2):
            try:
                return self._once(statements, effect, settings, end)
            except ConnectionLostError as lost:
                unanswered += lost.sent
                failure = self._wait_to_resend(lost, effect, tries, end)
            except DatabaseError as error:
                failure = error
            if failure is not None:
                raise self._honest(failure, effect, unanswered) from failure.__cause__
        raise AssertionError("unreachable: the last try returns or raises")

    @staticmethod
    def _honest(error: DatabaseError, effect: Effect, unanswered: int) -> DatabaseError:
        """The error, which says that nothing was done, unless an earlier try may have done it."""
        if unanswered and effect is Effect.REPEATABLE:
            return OutcomeUnknownError(f"sent {unanswered} times without an answer: {error}")
        return error

    def _wait_to_resend(
        self, lost: ConnectionLostError, effect: Effect, tries: int, end: float
    ) -> DatabaseError | None:
        """Wait until the unit of work can be sent again, or return why it cannot."""
        if lost.sent and effect is Effect.ONCE:
            return OutcomeUnknownError(f"the answer to a write was lost: {lost}")
        # The first time at once: most likely the connection had died while it was idle.
        seconds = pause(tries) if tries > 1 else 0.0
        if tries > _RESENDS or time.monotonic() + seconds >= end:
            return UnavailableError(f"no answer after {tries} tries, the last one: {lost}")
        self.telemetry.retries["lost" if lost.sent else "unsent"] += 1
        logger.info("the unit of work is sent again: %s", lost)
        time.sleep(seconds)
        return None

    def _once(
        self,
        statements: Sequence[Statement],
        effect: Effect,
        settings: Mapping[str, str],
        end: float,
    ) -> list[list[Row]]:
        connection = self._connected(end)
        until = end
        if connection.batches and effect is not Effect.ONCE:
            # A reused connection may have died without a word.
            until = min(part_of(end, 3), time.monotonic() + self._patience)
        try:
            return self._transacted(connection, statements, settings, end, until)
        except PreparedRefused as refused:
            self._stop_preparing(connection, refused)
            return self._transacted(connection, statements, settings, end, end)

    def _transacted(
        self,
        connection: Connection,
        statements: Sequence[Statement],
        settings: Mapping[str, str],
        end: float,
        until: float,
    ) -> list[list[Row]]:
        local = {"statement_timeout": statement_timeout(end), **settings}
        guards = [] if self._guard is None or connection.batches else [self._guard]
        batch = [bind(each, connection.transformer) for each in guards]
        batch.append(bind_settings(local))
        batch += [bind(each, connection.transformer) for each in statements]
        try:
            results = self._exchange(connection, batch, until)[len(guards) :]
        except StatementError as error:
            if guards:
                self._drop()
                raise ConfigurationError(f"the login was refused: {error}") from error
            raise
        if connection.in_transaction:
            self._drop()
            raise StatementError("a unit of work cannot begin a transaction; use transaction()")
        return [connection.rows(each) for each in results[1:]]

    def _exchange(
        self,
        connection: Connection,
        batch: Sequence[Bound],
        until: float,
        *,
        prepare: bool = True,
    ) -> list[PGresult]:
        """One round trip; a connection that did not come through it whole is closed."""
        self.telemetry.round_trips += 1
        try:
            return connection.exchange(batch, until, prepare=prepare)
        except (DatabaseError, PreparedRefused):
            raise  # rolled back, and the connection is idle again
        except BaseException:
            self._drop()
            raise

    def _stop_preparing(self, connection: Connection, refused: PreparedRefused) -> None:
        connection.stop_preparing()
        self.telemetry.prepared_refused += 1
        if refused.pooler:
            self._prepare = False
            logger.info("the pooler keeps no prepared statements; going on without")

    def _settle(self, xid: str, end: float) -> None:
        """Return when the transaction was committed, found out on a new connection.

        Raises UnavailableError when it was rolled back, OutcomeUnknownError when that cannot be found.
        """
        tries = 0
        status: str | None = "in progress"
        while status == "in progress" and time.monotonic() < end:
            time.sleep(min(pause(tries), max(0.0, end - time.monotonic())) if tries else 0.0)
            status = self._status_of(xid, end)
            tries += 1
        if status == "aborted":
            raise UnavailableError("the connection was lost and the transaction rolled back")
        if status != "committed":
            raise OutcomeUnknownError(
                "the answer to a commit was lost and its outcome is not found"
            )
        self.telemetry.settled += 1

    def _status_of(self, xid: str, end: float) -> str | None:
        """`committed`, `aborted`, `in progress`, or None for what is too long ago to tell."""
        statement = Statement("SELECT pg_xact_status(%s::xid8) AS status", (xid,))
        try:
            rows = self._run((statement,), Effect.READ, {}, end)
        except DatabaseError as error:
            raise OutcomeUnknownError(
                f"the answer to a commit was lost, and then: {error}"
            ) from error
        status: str | None = rows[0][0]["status"]
        return status

    # -- the connection ------------------------------------------------------------------------

    def _hold(self, end: float) -> None:
        """Take the lock, to be released; UnavailableError when other threads hold it too long."""
        if not self._lock.acquire(timeout=max(0.0, end - time.monotonic())):
            raise UnavailableError("other threads hold the connection")
        if self._is_in_transaction:
            self._lock.release()
            raise StatementError("inside a transaction() block its own run() is the one")

    def _connected(self, end: float) -> Connection:
        if time.monotonic() >= end:
            raise UnavailableError("no time is left")
        if self._connection is not None:
            reason = self._connection.unusable()
            if reason is None:
                self.telemetry.reuses += 1
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
            max_idle=self._max_idle,
            max_life=self._max_life,
            prepare=self._prepare,
        )
        return connection

    def _open_early(self) -> None:
        end = time.monotonic() + min(_WARM_SECONDS, self._seconds)
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
        """After a restore from a snapshot: nothing from before it is true any more."""
        self.close()
        self._open_early()

    def _exiting(self) -> None:
        """At exit: close, unless a thread that is still at work holds the connection."""
        if self._lock.acquire(timeout=_EXIT_SECONDS):
            self._drop()
            self._lock.release()

    def _forked(self) -> None:
        """In a forked child: the connection, and whoever held the lock, are the parent's."""
        self._lock = RLock()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
