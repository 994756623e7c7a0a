"""One libpq connection that stays in pipeline mode, and the exchange of one batch over it.

A pipeline that holds no BEGIN is one implicit transaction up to its Sync, and one round trip:
https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING
The server commits when it reads the Sync. So a connection that is lost before the Sync was handed
to the kernel has done nothing, and one that is lost afterwards may have done everything.
"""

from __future__ import annotations

import os
import random
import select
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from neon._errors import StatementError, error_of
from neon._statement import Bound

__all__ = ["Connection", "ConnectionLostError", "PreparedRefused", "Row"]

Row = dict[str, Any]
_Key = tuple[bytes, tuple[int, ...]]  # a statement's text and its parameters' types

_PREPARED_LIMIT = 256
_SYNCED = ExecStatus.PIPELINE_SYNC
_FINE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY)
# Prepared where another server connection has to execute; prepared twice on one: the pooler
# keeps no account of prepared statements. And: the table changed under a plan.
_PREPARED_REFUSALS = {b"26000", b"42P05"}
_PLAN_CHANGED = "cached plan must not change result type"  # 0A000, as is much else
# PgBouncer says these to a client that it has not given a server connection yet.
_NEVER_FORWARDED = ("query_wait_timeout", "server_login_retry", "cannot connect to server")


class ConnectionLostError(Exception):
    """The connection ended, or went silent, during a batch; `sent` says after its Sync."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class PreparedRefused(Exception):
    """The batch was rolled back because prepared statements do not work here.

    `pooler` is False where only a plan became invalid.
    """

    def __init__(self, *, pooler: bool) -> None:
        super().__init__("prepared statements are refused")
        self.pooler = pooler


class Connection:
    """A connection that is idle between batches; not thread-safe, its owner locks."""

    def __init__(
        self, pgconn: PGconn, *, max_idle: float, max_life: float, prepare: bool = True
    ) -> None:
        pgconn.nonblocking = 1
        pgconn.enter_pipeline_mode()
        # Psycopg's object only for its adapters, encoding and time zone.
        self._connection = psycopg.Connection[Any](pgconn)
        self.transformer = Transformer(self._connection)
        self._pgconn = pgconn
        pgconn.notice_handler = self._noticed
        self._poll = select.poll()
        self._poll.register(pgconn.socket, select.POLLIN)
        self._prepared: dict[_Key, bytes] = {}
        self._max_idle = max_idle
        # Jittered, or a fleet that started together reconnects together.
        self._max_life = max_life * random.SystemRandom().uniform(0.9, 1.0)
        self._ended = False
        self._opened = self._used = _clocks()
        self._prepare = prepare
        self.batches = 0

    # -- is it any good? ---------------------------------------------------------------------

    def unusable(self) -> str | None:
        """Why the next batch needs another connection: `stale`, `expired` or None; no traffic."""
        now = _clocks()
        if _elapsed(self._used, now) > self._max_idle:
            return "expired"
        if _elapsed(self._opened, now) > self._max_life:
            return "expired"
        return None if self._alive() else "stale"

    def _alive(self) -> bool:
        """Whether the server is known to have gone; a lost FIN is not seen here."""
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
        return self._pgconn.status == ConnStatus.OK

    def _noticed(self, notice: PGresult) -> None:
        if _severity(notice) in (b"FATAL", b"PANIC"):
            self._ended = True

    # -- one batch, one round trip -----------------------------------------------------------

    def exchange(
        self, batch: Sequence[Bound], end: float, *, prepare: bool = True
    ) -> list[PGresult]:
        """Send the batch and wait for all of its answers until `end`, by `time.monotonic`.

        Raises ConnectionLostError, PreparedRefused, or the DatabaseError for which the server rolled back.
        """
        self.batches += 1
        pending = self._queue(batch, prepare=prepare and self._prepare)
        results = self._answers(end)
        self._used = _clocks()
        return self._judged(results, pending, prepared=prepare and self._prepare)

    def _queue(self, batch: Sequence[Bound], *, prepare: bool) -> list[_Key | None]:
        """Hand the batch to libpq; for each answer to come, what it prepares, if anything."""
        pending: list[_Key | None] = []
        try:
            for bound in batch:
                self._queue_one(bound, pending, prepare=prepare)
        except psycopg.OperationalError as error:
            # Long batches are sent while they are queued, but without a Sync nothing commits.
            raise ConnectionLostError(_first_line(error), sent=False) from None
        try:
            self._pgconn.pipeline_sync()
        except psycopg.OperationalError as error:
            raise ConnectionLostError(_first_line(error), sent=True) from None
        return pending

    def _queue_one(self, bound: Bound, pending: list[_Key | None], *, prepare: bool) -> None:
        text, values, types, formats = bound
        name = self._prepared_name((text, types), pending) if prepare else None
        if name is None:
            self._pgconn.send_query_params(text, values, types or None, formats)
        else:
            self._pgconn.send_query_prepared(name, values, formats)
        pending.append(None)

    def _prepared_name(self, key: _Key, pending: list[_Key | None]) -> bytes | None:
        """The name to execute by; its first use sends the statement along, at no round trip."""
        name = self._prepared.get(key)
        if name is None and len(self._prepared) < _PREPARED_LIMIT:
            name = _name_of(*key)
            if key not in pending:
                self._pgconn.send_prepare(name, *key)
                pending.append(key)
        return name

    def _answers(self, end: float) -> list[PGresult]:
        results: list[PGresult] = []
        try:
            while True:
                self._wait(end)
                self._pgconn.consume_input()
                if self._collect(results):
                    return results
        except psycopg.OperationalError as error:
            raise _lost(results, _first_line(error)) from None

    def _collect(self, results: list[PGresult]) -> bool:
        """Take the results that are complete; whether the Sync's answer was among them."""
        pgconn = self._pgconn
        ends = 0
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:  # the end of one statement's results
                ends += 1
                if ends > 1:
                    raise _lost(results, "the connection was closed")
            elif result.status == _SYNCED:
                return True
            else:
                ends = 0
                results.append(result)
        return False

    def _wait(self, end: float) -> None:
        """Wait until there is something to read, writing what is not yet written."""
        while self._pgconn.flush():
            self._poll.modify(self._pgconn.socket, select.POLLIN | select.POLLOUT)
            events = self._poll.poll(_milliseconds(end))
            self._poll.modify(self._pgconn.socket, select.POLLIN)
            if not events:
                raise ConnectionLostError("the server took no data in time", sent=False)
            if events[0][1] & ~select.POLLOUT:
                return
        if not self._poll.poll(_milliseconds(end)):
            raise ConnectionLostError("no answer came in time", sent=True)

    def _judged(
        self, results: list[PGresult], pending: list[_Key | None], *, prepared: bool
    ) -> list[PGresult]:
        """The statements' results, or the error for which everything was rolled back.

        One more result than expected is an error of the commit itself (a deferred constraint).
        """
        answers = []
        for position, result in enumerate(results):
            if result.status not in _FINE:
                raise (_refused_to_prepare(result) if prepared else None) or error_of(result)
            key = pending[position] if position < len(pending) else None
            if key is None:
                answers.append(result)
            else:
                self._prepared[key] = _name_of(*key)
        return answers

    def stop_preparing(self) -> None:
        """Send every statement unprepared from here on."""
        self._prepare = False

    # -- afterwards --------------------------------------------------------------------------

    def rows(self, result: PGresult) -> list[Row]:
        """The result's rows as dicts; none for a statement that returns none."""
        if result.status != ExecStatus.TUPLES_OK:
            return []
        self.transformer.set_pgresult(result)
        names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
        try:
            return self.transformer.load_rows(
                0, result.ntuples, lambda values: dict(zip(names, values, strict=True))
            )
        except (psycopg.Error, ValueError, OverflowError) as error:
            raise StatementError(
                f"done, but a value has no Python form ({type(error).__name__})"
            ) from None

    @property
    def in_transaction(self) -> bool:
        """Whether an explicit transaction is open, be it failed."""
        return self._pgconn.transaction_status != TransactionStatus.IDLE

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._connection.closed

    def close(self) -> None:
        """Close it, telling the server."""
        self._connection.close()

    def abandon(self) -> None:
        """Let go of it in a child process, without a word on the socket that the parent uses."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, self._pgconn.socket)
        os.close(nowhere)
        self._connection.close()


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _elapsed(since: tuple[float, float], now: tuple[float, float]) -> float:
    """Seconds by the clock that moved more: the monotonic one may rest while Lambda freezes."""
    return max(now[0] - since[0], now[1] - since[1])


def _milliseconds(end: float) -> float:
    return max(0.0, (end - time.monotonic()) * 1000)


def _name_of(text: bytes, types: tuple[int, ...]) -> bytes:
    """A name that says what it stands for.

    Behind a pooler that keeps no account of them, another client's statement can be met under
    a name; under this one it can only be the same statement.
    """
    return b"neon_" + blake2b(text + repr(types).encode(), digest_size=12).hexdigest().encode()


def _refused_to_prepare(result: PGresult) -> PreparedRefused | None:
    sqlstate = result.error_field(DiagnosticField.SQLSTATE)
    if sqlstate in _PREPARED_REFUSALS:
        return PreparedRefused(pooler=True)
    if sqlstate == b"0A000" and _PLAN_CHANGED in _message(result):
        return PreparedRefused(pooler=False)
    return None


def _lost(results: Sequence[PGresult], text: str) -> ConnectionLostError:
    errors = [_message(each) for each in results if each.status not in _FINE]
    text = next((each for each in errors if each), text)
    return ConnectionLostError(
        text, sent=not any(fragment in text for fragment in _NEVER_FORWARDED)
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _message(result: PGresult) -> str:
    return (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")


def _severity(result: PGresult) -> bytes | None:
    return result.error_field(DiagnosticField.SEVERITY_NONLOCALIZED) or result.error_field(
        DiagnosticField.SEVERITY
    )
