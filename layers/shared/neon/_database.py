"""One reused connection, and the unit of work that crosses it in one round trip."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from threading import RLock
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from neon._errors import Conflict, Misconfigured, OutcomeUnknown, Unavailable

logger = logging.getLogger(__name__)

Row = dict[str, Any]

_CONNECT_SECONDS = 10.0
_DEFAULT_SECONDS = 10.0
_MARGIN_SECONDS = 0.5
_LOOPBACK = {"", "localhost", "127.0.0.1", "::1"}
_deadline: ContextVar[float | None] = ContextVar("neon_deadline", default=None)


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement and its bound parameters."""

    sql: LiteralString
    params: Sequence[object] | Mapping[str, object] = ()


class Effect(Enum):
    """What sending a unit of work a second time would do."""

    READ = "read"
    REPEATABLE = "repeatable"
    ONCE = "once"


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound all work inside the block, connecting and retrying included, to `seconds`."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def _remaining() -> float:
    end = _deadline.get()
    return _DEFAULT_SECONDS if end is None else end - time.monotonic() - _MARGIN_SECONDS


class Database:
    """A Postgres database, reached over one connection that is opened once and reused."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Row] | None = None
        self._lock = RLock()

    @classmethod
    def from_environment(cls) -> Database:
        """The database that `DATABASE_URL` names. Raises Misconfigured when it names none."""
        url = os.environ.get("DATABASE_URL", "")
        if not url.startswith(("postgres://", "postgresql://")):
            raise Misconfigured("DATABASE_URL has to be a postgresql:// connection string")
        return cls(url)

    def warm(self) -> None:
        """Open the connection now, in Lambda's INIT; elsewhere, or on failure, do nothing."""
        if "AWS_LAMBDA_RUNTIME_API" not in os.environ:
            return
        try:
            with self._lock:
                self._connected()
        except Unavailable as error:
            logger.warning("the database is not reached in INIT: %s", error)

    def run(
        self,
        *statements: Statement,
        effect: Effect,
        settings: Mapping[str, str] | None = None,
    ) -> list[list[Row]]:
        """Run the statements as one transaction in one round trip; the rows of each.

        `settings` hold for this transaction alone. Raises Unavailable, Conflict, Misconfigured,
        and OutcomeUnknown for an `Effect.ONCE` whose answer was lost.
        """
        with self._lock:
            try:
                return self._send(statements, settings or {})
            except psycopg.OperationalError as error:
                self.close()
                return self._again(statements, settings or {}, effect, error)
            except psycopg.errors.IntegrityError as error:
                raise Conflict(f"refused by a constraint ({error.sqlstate})") from error

    def derive_key(self, purpose: bytes) -> bytes:
        """A secret key of 32 bytes that everybody with the same connection string derives alike."""
        return hmac.new(self._url.encode(), purpose, hashlib.sha256).digest()

    def close(self) -> None:
        """Close the connection; the next unit of work opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _again(
        self,
        statements: Sequence[Statement],
        settings: Mapping[str, str],
        effect: Effect,
        error: psycopg.OperationalError,
    ) -> list[list[Row]]:
        if isinstance(error, psycopg.errors.QueryCanceled):
            raise Unavailable("the statement ran out of time") from error
        if effect is Effect.ONCE:
            raise OutcomeUnknown("the connection was lost before the answer came") from error
        try:
            return self._send(statements, settings)
        except psycopg.OperationalError as second:
            self.close()
            raise Unavailable("the connection was lost twice in a row") from second

    def _send(
        self, statements: Sequence[Statement], settings: Mapping[str, str]
    ) -> list[list[Row]]:
        connection = self._connected()
        with connection.pipeline():
            self._apply(connection, settings)
            cursors = [connection.execute(each.sql, each.params) for each in statements]
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]

    @staticmethod
    def _apply(connection: psycopg.Connection[Row], settings: Mapping[str, str]) -> None:
        timeout = str(max(1, int(_remaining() * 1000)))
        for name, value in {"statement_timeout": timeout, **settings}.items():
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))

    def _connected(self) -> psycopg.Connection[Row]:
        if self._connection is not None and not self._alive(self._connection):
            logger.info("the connection died while idle; opening another")
            self.close()
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    @staticmethod
    def _alive(connection: psycopg.Connection[Row]) -> bool:
        """Whether the server is still there, found out without a round trip."""
        if connection.closed:
            return False
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if not poll.poll(0):
            return True
        try:
            connection.pgconn.consume_input()
        except psycopg.OperationalError:
            return False
        return connection.pgconn.status == psycopg.pq.ConnStatus.OK

    def _open(self) -> psycopg.Connection[Row]:
        seconds = min(_CONNECT_SECONDS, max(1.0, _remaining()))
        try:
            return psycopg.connect(
                self._url,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=int(seconds),
                application_name="task-api",
                **self._transport,
            )
        except psycopg.OperationalError as error:
            raise Unavailable("the database cannot be reached") from error

    @cached_property
    def _transport(self) -> dict[str, str]:
        """TLS with a verified host name, unless the database is on this very machine."""
        parts = urlsplit(self._url)
        if (parts.hostname or "") in _LOOPBACK or "sslmode=" in parts.query:
            return {}
        return {"sslmode": "verify-full", "sslrootcert": "system"}
