"""An interactive transaction: several round trips, and a commit whose outcome is always sought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from neon._connection import Connection, ConnectionLostError, Row
from neon._deadline import part_of, statement_timeout
from neon._errors import DatabaseError, StatementError, UnavailableError
from neon._statement import Bound, Effect, Statement, bind, bind_settings

if TYPE_CHECKING:
    from neon._database import Database

__all__ = ["Transaction"]

_BEGIN, _COMMIT, _ROLLBACK = Bound(b"BEGIN"), Bound(b"COMMIT"), Bound(b"ROLLBACK")
# Rides along with every batch, so that it is known before a commit can be lost.
_XID = Bound(b"SELECT pg_current_xact_id_if_assigned()::text AS xid")


class Transaction:
    """What `Database.transaction()` hands to its block; of no use after it."""

    def __init__(self, database: Database, settings: Mapping[str, str], end: float) -> None:
        self._database = database
        self._settings = settings
        self._end = end
        self._connection: Connection | None = None
        self._xid: str | None = None
        self._is_failed = False

    def run(self, *statements: Statement) -> list[list[Row]]:
        """Run the statements inside the transaction, in one round trip; the rows of each.

        Raises as `Database.run` does, but never OutcomeUnknownError: nothing is committed yet. After
        an error the transaction can only end.
        """
        if self._is_failed:
            raise StatementError("the transaction has failed already")
        self._is_failed = True
        answers = self._next(statements) if self._connection else self._begin(statements)
        self._is_failed = False
        return answers

    def _begin(self, statements: tuple[Statement, ...]) -> list[list[Row]]:
        """Begin and run, as often as it takes: without a commit nothing was done."""
        tries = 0
        while True:
            tries += 1
            connection = self._database._connected(self._end)
            self._connection = connection
            try:
                return self._send(connection, statements, _BEGIN, **self._settings)
            except ConnectionLostError as lost:
                self._connection = None
                failure = self._database._wait_to_resend(lost, Effect.READ, tries, self._end)
                if failure is not None:
                    raise failure from None

    def _next(self, statements: tuple[Statement, ...]) -> list[list[Row]]:
        assert self._connection is not None  # noqa: S101  for the type checker
        try:
            return self._send(self._connection, statements)
        except ConnectionLostError as lost:
            self._connection = None
            raise UnavailableError(
                f"the transaction was lost and nothing was done: {lost}"
            ) from None

    def _send(
        self,
        connection: Connection,
        statements: tuple[Statement, ...],
        *before: Bound,
        **settings: str,
    ) -> list[list[Row]]:
        timeout = statement_timeout(self._end)
        # The second one ends what a frozen environment would leave open.
        local = {
            "statement_timeout": timeout,
            "idle_in_transaction_session_timeout": timeout,
            **settings,
        }
        batch = [*before, bind_settings(local)]
        batch += [bind(each, connection.transformer) for each in statements]
        results = self._database._exchange(connection, [*batch, _XID], self._end, prepare=False)
        rows = [connection.rows(each) for each in results[len(before) + 1 :]]
        self._xid = rows.pop()[0]["xid"]
        return rows

    def _commit(self) -> None:
        if self._connection is None and not self._is_failed:
            return  # nothing was run
        if self._connection is None or self._is_failed:
            raise StatementError("the transaction had failed and is rolled back")
        # Half of the time for the answer, the other half to find out when there is none.
        until = part_of(self._end, 2)
        try:
            result = self._database._exchange(self._connection, [_COMMIT], until, prepare=False)[0]
        except ConnectionLostError as lost:
            self._connection = None
            self._settle(lost)
            return
        if result.command_status != b"COMMIT":
            raise StatementError("the transaction had failed and is rolled back")
        self._connection = None

    def _settle(self, lost: ConnectionLostError) -> None:
        if not lost.sent:
            raise UnavailableError(
                f"the transaction was lost and nothing was done: {lost}"
            ) from None
        if self._xid is not None:  # without one it wrote nothing
            self._database._settle(self._xid, self._end)

    def _abort(self) -> None:
        """Roll back what is not committed; the connection goes where that fails."""
        connection, self._connection = self._connection, None
        self._is_failed = True
        if connection is None or connection.closed:
            return
        try:
            self._database._exchange(connection, [_ROLLBACK], self._end, prepare=False)
        except (ConnectionLostError, DatabaseError):
            self._database._drop()
