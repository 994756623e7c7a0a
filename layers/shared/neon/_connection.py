"""One libpq connection that stays in pipeline mode, and the exchange of one batch over it.

A pipeline that holds no BEGIN is one implicit transaction up to its Sync, and one round trip:
https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING
The server commits when it reads the Sync. So a connection that is lost before the Sync was handed
to the kernel has done nothing, and one that is lost afterwards may have done everything, unless
an error arrived: then the server has rolled back.
"""

from __future__ import annotations

import os
import random
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, PollingStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from neon._deadline import remaining
from neon._errors import OutcomeUnknownError, ResultError, describe, error_of, field, is_fatal
from neon._statement import Bound, new_session, surveyed
from neon._telemetry import Telemetry

Row = dict[str, Any]
_Key = tuple[bytes, tuple[int, ...]]  # a statement's text and its parameters' types

_MOST_PREPARED = 256
_USER_TIMEOUT_MILLISECONDS = 3000  # as the connection string's tcp_user_timeout
_LARGE_BYTES = 32_768
_CANCEL_SECONDS = 0.25
_STANDBY_SECONDS = 60.0  # after a failover, the old server's reads are old
_FINE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY)
# Looked up once: looking up a member of an enum takes longer than comparing it.
_SYNC, _ROWS = ExecStatus.PIPELINE_SYNC, ExecStatus.TUPLES_OK
_ERROR = ExecStatus.FATAL_ERROR
_CONNECTED, _IDLE = ConnStatus.OK, TransactionStatus.IDLE
_COPY = (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)
# The statement was prepared on another server connection, or twice on this one: the pooler does
# not track prepared statements.
_PREPARED_REFUSALS = ("26000", "42P05")
# The function in Postgres' source that finds a plan's result changed. The SQLSTATE is 0A000, which
# is also much else, and the message may be in any language.
_PLAN_CHANGED = "RevalidateCachedQuery"
# PgBouncer, which translates nothing, says these to a client without a server connection yet.
_NEVER_FORWARDED = ("query_wait_timeout", "server_login_retry", "cannot connect to server")


class ConnectionLostError(Exception):
    """The connection ended, or was given up, during a batch; `sent` says after its Sync."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class PreparedRefusedError(Exception):
    """The batch was rolled back because a prepared statement cannot be used.

    `pooler` is False if only its plan became invalid.
    """

    def __init__(self, *, pooler: bool) -> None:
        super().__init__("prepared statements are refused")
        self.pooler = pooler


class Connection:
    """A connection that is idle between batches; not thread-safe, its owner locks."""

    def __init__(
        self,
        pgconn: PGconn,
        telemetry: Telemetry,
        *,
        max_idle: float,
        max_lifetime: float,
        prepare: bool,
    ) -> None:
        pgconn.nonblocking = 1
        pgconn.enter_pipeline_mode()
        # Without a connection it reads and writes UTF-8, ISO dates and UTC, whatever the session's
        # settings were: the pinned ones are made for it.
        self.session = new_session(Transformer(), pgconn.server_version)
        self._pgconn = pgconn
        self._telemetry = telemetry
        # Made now: libpq cannot make one from a connection that was lost.
        self._canceller = pgconn.cancel_conn()
        pgconn.notice_handler = self._noticed
        self._poll = select.poll()
        self._poll.register(pgconn.socket, select.POLLIN)
        self._prepared: dict[_Key, bytes] = {}
        self._max_idle = max_idle
        if self.parameter("in_hot_standby") == "on":
            max_lifetime = min(max_lifetime, _STANDBY_SECONDS)
        # Jittered, or a fleet that started together reconnects together.
        self._max_lifetime = max_lifetime * random.SystemRandom().uniform(0.9, 1.0)
        self._is_tcp = not pgconn.host.startswith((b"/", b"@"))
        self._is_patient = False
        self._ended = False
        self._opened = self._used = _clocks()
        self._prepare = prepare
        self._is_cancelled = False
        self.failed_at, self.failed_with = -1, ""  # the position in the batch, the server's words

    # -- is it any good? ---------------------------------------------------------------------

    def unusable(self) -> str | None:
        """Return why the next batch needs another connection: `stale`, `expired` or None.

        Sends nothing.
        """
        now = _clocks()
        idle, life = _elapsed(self._used, now), _elapsed(self._opened, now)
        if idle > self._max_idle or life > self._max_lifetime:
            return "expired"
        return None if self._alive() else "stale"

    def _alive(self) -> bool:
        """Return False if the server is known to have gone; a lost FIN is not seen here."""
        try:
            while self._poll.poll(0):
                # More than reading: parsing tells a NOTIFY from the server's last words.
                self._pgconn.consume_input()
                while self._pgconn.notifies():
                    pass
                if self._ended:
                    return False
        except psycopg.OperationalError:
            return False
        return self._pgconn.status == _CONNECTED

    def parameter(self, name: str) -> str:
        """Return a setting that the server reports by itself; empty if none, or once closed."""
        if self.closed:
            return ""
        return (self._pgconn.parameter_status(name.encode()) or b"").decode()

    def learn(self, survey: PGresult) -> None:
        """Pin the settings from now on whose values in this session are not fine."""
        names = ((survey.fname(i) or b"").decode() for i in range(survey.nfields))
        found = {name: (survey.get_value(0, i) or b"").decode() for i, name in enumerate(names)}
        self.session = surveyed(self.session, found)

    def _noticed(self, notice: PGresult) -> None:
        self._ended = self._ended or is_fatal(notice)

    # -- one batch, one round trip -----------------------------------------------------------

    def exchange(self, batch: Sequence[Bound], end: float) -> list[PGresult]:
        """Send the batch and wait for all of its results until `end`, by `time.monotonic`.

        At `end` the server is told to stop, and a response to that still counts. Raise
        ConnectionLostError, PreparedRefusedError, or the DatabaseError for which the server
        rolled back. A connection that is not idle afterwards is closed.
        """
        self._telemetry.round_trips += 1
        results: list[PGresult] = []
        pending: list[_Key | None] = []
        sent = False
        try:
            self._send(batch, pending, results, end)
            sent = True
            if not self._receive(results, end):
                self._finish_late(results)
        except BaseException as error:
            self._give_up(results)
            if isinstance(error, MemoryError):
                raise ConnectionLostError("no memory is left", sent=sent) from None
            if not isinstance(error, ConnectionLostError) or not _is_rolled_back(results):
                raise
        self._used = _clocks()
        return self._checked(results, pending)

    def _send(
        self,
        batch: Sequence[Bound],
        pending: list[_Key | None],
        results: list[PGresult],
        end: float,
    ) -> None:
        """Send the batch and its Sync; list what each result to come prepares, if anything.

        Raise ConnectionLostError if the Sync was not handed to the kernel whole. Long batches are
        sent while they are queued, but without a Sync nothing commits. Only `flush` proves it: a
        raise of it, or of what calls it, leaves bytes unsent.
        """
        try:
            self._allow_time(batch, end)
            for bound in batch:
                self._queue_one(bound, pending)
            self._pgconn.pipeline_sync()
            while self._pgconn.flush():
                self._wait_to_send(end)
        except psycopg.OperationalError:
            raise self._lost(results, sent=False) from None

    def _wait_to_send(self, end: float) -> None:
        """Wait until the server takes or sends something; `flush` reads, too."""
        self._poll.modify(self._pgconn.socket, select.POLLIN | select.POLLOUT)
        events = self._poll.poll(remaining(end) * 1000)
        self._poll.modify(self._pgconn.socket, select.POLLIN)
        if not events:
            raise ConnectionLostError("the server took no data in time", sent=False)
        if events[0][1] & (select.POLLERR | select.POLLHUP):
            self._pgconn.consume_input()  # may hold the reason
            raise psycopg.OperationalError

    def _queue_one(self, bound: Bound, pending: list[_Key | None]) -> None:
        text, values, types, formats = bound
        key = (text, types)
        if name := self._prepared.get(key) or self._prepare_now(key, pending):
            self._pgconn.send_query_prepared(name, values, formats)
        else:
            self._pgconn.send_query_params(text, values, types or None, formats)
        pending.append(None)

    def _prepare_now(self, key: _Key, pending: list[_Key | None]) -> bytes | None:
        """Send the statement to be prepared in this trip, once; return the name to execute by.

        Return None if nothing more is prepared.
        """
        if not self._prepare or len(self._prepared) >= _MOST_PREPARED:
            return None
        name = _name_of(*key)
        if key not in pending:
            self._pgconn.send_prepare(name, *key)
            pending.append(key)
        return name

    def _allow_time(self, batch: Sequence[Bound], end: float) -> None:
        """Let a server that works on a part of a large batch leave the rest unread until `end`.

        The kernel counts bytes that nobody reads as unanswered.
        """
        size = 0
        for each in batch:
            if each.types:  # not the settings, which are small
                size += sum(map(len, filter(None, each.values)))
        is_large = size > _LARGE_BYTES
        if is_large != self._is_patient and self._is_tcp:
            milliseconds = int(remaining(end) * 1000) + 1 if is_large else 0
            with socket.socket(fileno=os.dup(self._pgconn.socket)) as same:
                same.setsockopt(
                    socket.IPPROTO_TCP,
                    socket.TCP_USER_TIMEOUT,
                    max(milliseconds, _USER_TIMEOUT_MILLISECONDS),
                )
            self._is_patient = is_large

    def _receive(self, results: list[PGresult], end: float) -> bool:
        """Collect results until the Sync's; return False if the server is silent until `end`."""
        try:
            while self._poll.poll(remaining(end) * 1000):
                self._pgconn.consume_input()
                if self._collect(results):
                    return True
        except psycopg.OperationalError:
            raise self._lost(results, sent=True) from None
        return False

    def _lost(self, results: list[PGresult], *, sent: bool) -> ConnectionLostError:
        """Return the error for a lost connection, after collecting what libpq had read of it."""
        with suppress(psycopg.OperationalError):
            self._collect(results)
        for each in results:
            if each.status == _ERROR:
                text = field(each, DiagnosticField.MESSAGE_PRIMARY)
                never = any(fragment in text for fragment in _NEVER_FORWARDED)
                sqlstate = field(each, DiagnosticField.SQLSTATE)
                return ConnectionLostError(describe(sqlstate), sent=sent and not never)
        return ConnectionLostError("the connection was closed", sent=sent)

    def _collect(self, results: list[PGresult]) -> bool:
        """Take the results that are complete; return whether the Sync's was among them."""
        ends = 0
        while not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            status = result.status if result else None
            if result and status in _FINE:
                ends = 0
                results.append(result)
            elif result is None:  # the end of one statement's results
                ends += 1
                if ends > 1:
                    raise psycopg.OperationalError
            elif status == _SYNC:
                return True
            elif status in _COPY:
                # Its results would never end.
                raise OutcomeUnknownError("a unit of work cannot hold COPY; it may have been done")
            elif status == _ERROR and not field(result, DiagnosticField.SQLSTATE):
                # libpq's own: no memory, a malformed row, a lost connection. The server may have
                # committed.
                raise psycopg.OperationalError
            else:
                ends = 0
                results.append(result)
        return False

    def _checked(self, results: list[PGresult], pending: list[_Key | None]) -> list[PGresult]:
        """Return the statements' results, or raise the error for which all was rolled back.

        One more result than expected is an error of the commit itself (a deferred constraint).
        """
        failed = len(results)
        if results[-1].status not in _FINE:  # after an error the rest is aborted
            failed = next(n for n, each in enumerate(results) if each.status not in _FINE)
        if any(pending):
            self._prepared |= {key: _name_of(*key) for key in pending[:failed] if key}
        if failed < len(results):
            raise self._error_of(results[failed], pending[:failed].count(None))
        if any(pending):
            return [each for each, key in zip(results, pending, strict=True) if key is None]
        return results

    def _error_of(self, result: PGresult, position: int) -> Exception:
        """Return the error for the statement at this position of the batch."""
        self.failed_at = position
        self.failed_with = field(result, DiagnosticField.MESSAGE_PRIMARY)
        refused = _refused_to_prepare(result) if self._prepare else None
        return refused or error_of(result)

    def stop_preparing(self) -> None:
        """Send every statement unprepared from here on."""
        self._prepare = False
        self._prepared.clear()

    def rows(self, result: PGresult) -> list[Row]:
        """Return the result's rows as dicts; none for a statement that returns none."""
        if result.status != _ROWS:
            return []
        transformer = self.session.transformer
        transformer.set_pgresult(result)
        names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
        try:
            return transformer.load_rows(
                0, result.ntuples, lambda values: dict(zip(names, values, strict=True))
            )
        except Exception as error:
            # From None: the exception's text may quote the value.
            raise ResultError(
                f"done, but a value has no Python form ({type(error).__name__})"
            ) from None

    # -- giving up ---------------------------------------------------------------------------

    def _finish_late(self, results: list[PGresult]) -> None:
        """Tell the server to stop, and take the results that it still sends."""
        limit = time.monotonic() + _CANCEL_SECONDS
        self._cancel(limit)
        if not self._receive(results, limit):
            raise ConnectionLostError("no answer came in time", sent=True)
        self._ended = True  # for the cancel request may still be on its way to this session

    def _give_up(self, results: list[PGresult]) -> None:
        """Tell the server to stop, if it may be working, and let go of the connection."""
        is_over = self._ended or any(each.status not in _FINE for each in results)
        if not is_over and not self._is_cancelled:
            self._cancel(time.monotonic() + _CANCEL_SECONDS)
        self.abandon()

    def _cancel(self, limit: float) -> None:
        """Send a cancel request, until `limit` by `time.monotonic`.

        The connection has to be open still: a pooler finds the session by it.
        """
        self._is_cancelled = True
        self._telemetry.cancels += 1
        try:
            self._canceller.start()
            while (state := self._canceller.poll()) != PollingStatus.OK:
                events = select.POLLOUT if state == PollingStatus.WRITING else select.POLLIN
                poll = select.poll()
                poll.register(self._canceller.socket, events)
                if state == PollingStatus.FAILED or not poll.poll(remaining(limit) * 1000):
                    return
        except psycopg.OperationalError:
            return  # nobody is there to be told
        finally:
            self._canceller.finish()

    @property
    def in_transaction(self) -> bool:
        """Return whether a transaction is open, be it failed."""
        return self._pgconn.transaction_status != _IDLE

    @property
    def closed(self) -> bool:
        """Return whether the connection was closed or abandoned."""
        return self._pgconn.status != _CONNECTED

    def close(self) -> None:
        """Close it, telling the server. Only for an idle connection: this sends what is left."""
        self._pgconn.finish()

    def abandon(self) -> None:
        """Let go of the connection without another byte on its socket.

        Closing would send what libpq still holds, the Sync included; in a forked child it would
        end the parent's session.
        """
        if self._pgconn.status == _CONNECTED:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, self._pgconn.socket)
            os.close(nowhere)
        self._pgconn.finish()


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _elapsed(since: tuple[float, float], now: tuple[float, float]) -> float:
    """Return seconds by the clock that moved more: one may stand still while Lambda freezes us."""
    return max(now[0] - since[0], now[1] - since[1])


def _name_of(text: bytes, types: tuple[int, ...]) -> bytes:
    """Return a name made of the statement's digest.

    Behind a pooler that does not track them, another client's statement may have the same name;
    with this one it can only be the same statement.
    """
    return b"neon_" + blake2b(text + repr(types).encode(), digest_size=12).hexdigest().encode()


def _refused_to_prepare(result: PGresult) -> PreparedRefusedError | None:
    sqlstate = field(result, DiagnosticField.SQLSTATE)
    if sqlstate in _PREPARED_REFUSALS:
        return PreparedRefusedError(pooler=True)
    if field(result, DiagnosticField.SOURCE_FUNCTION) == _PLAN_CHANGED:
        return PreparedRefusedError(pooler=False)
    return None


def _is_rolled_back(results: Sequence[PGresult]) -> bool:
    """Return whether an error says that the server rolled back, or will without a doubt."""
    return any(each.status == _ERROR and not is_fatal(each) for each in results)
