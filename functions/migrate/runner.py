"""Migrations: plain SQL files, applied once each, in order, and never taken back.

Each file is one transaction that holds a lock on the table of migrations, so that two runners can
start at once: the second waits, finds nothing left to do and says so. The API's role has no right
to that table; an advisory lock anybody may take.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from neon import direct_conninfo

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{4})_\w+\.sql")
_CONNECT_SECONDS = 15


class MigrationError(Exception):
    """The schema cannot be brought up to date; the text says why and nothing was changed."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file: its number, its name without the ending, its text and its checksum."""

    version: int
    name: str
    sql: str
    checksum: str


def migrations(folder: Path) -> list[Migration]:
    """The migrations of a folder (`0001_name.sql`), numbered from 1 without a gap."""
    found = [_read(path) for path in sorted(folder.glob("*.sql"))]
    if [each.version for each in found] != list(range(1, len(found) + 1)):
        raise MigrationError("Migrations have to be numbered 0001, 0002, ... without a gap")
    return found


class Runner:
    """Applies migrations to one database, on its direct host, within so many seconds.

    The time bounds each statement, waiting for another runner included; 0 is no bound.
    """

    def __init__(self, url: str, migrations: list[Migration], *, seconds: float = 0.0) -> None:
        self._conninfo = direct_conninfo(url)
        self._migrations = migrations
        self._end = time.monotonic() + seconds if seconds else None

    @property
    def version(self) -> int:
        """The version that a finished run reaches."""
        return len(self._migrations)

    def run(self) -> list[str]:
        """Apply what is missing and name it. Raises MigrationError."""
        applied: list[str] = []
        try:
            with psycopg.connect(
                self._conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS
            ) as connection:
                self._create_table(connection)
                while name := self._step(connection):
                    logger.info("applied %s", name)
                    applied.append(name)
        except psycopg.errors.QueryCanceled as error:
            raise MigrationError("Another run holds the schema, and the time is over") from error
        except psycopg.OperationalError as error:
            raise MigrationError(f"The database cannot be reached: {_sentence(error)}") from error
        return applied

    def _step(self, connection: psycopg.Connection) -> str | None:
        """Apply the next migration, if one is left, as one transaction."""
        with connection.transaction():
            connection.execute("SELECT set_config('statement_timeout', %s, true)", (self._left(),))
            connection.execute("LOCK TABLE schema_migrations IN EXCLUSIVE MODE")
            pending = self._migrations[len(self._recorded(connection)) :]
            if not pending:
                return None
            self._apply(connection, pending[0])
            return pending[0].name

    def _left(self) -> str:
        """Milliseconds that a statement may take, as Postgres takes them; 0 is no limit."""
        if self._end is None:
            return "0"
        return str(max(1, int((self._end - time.monotonic()) * 1000)))

    @staticmethod
    def _create_table(connection: psycopg.Connection) -> None:
        with suppress(psycopg.errors.UniqueViolation):  # another runner creates it right now
            connection.execute(
                """
                CREATE TABLE IF NOT EXISTS schema_migrations (
                    version    integer     PRIMARY KEY,
                    name       text        NOT NULL,
                    checksum   text        NOT NULL,
                    applied_at timestamptz NOT NULL DEFAULT now()
                )
                """
            )

    def _recorded(self, connection: psycopg.Connection) -> list[tuple[str, str]]:
        """What this database has, after checking that it is what these files say."""
        recorded = connection.execute(
            "SELECT name, checksum FROM schema_migrations ORDER BY version"
        ).fetchall()
        # A newer version of the API may have gone further; it stays where it is.
        for (name, checksum), known in zip(recorded, self._migrations, strict=False):
            if (name, checksum) != (known.name, known.checksum):
                raise MigrationError(f"{known.name} was changed after it had been applied")
        return recorded

    @staticmethod
    def _apply(connection: psycopg.Connection, migration: Migration) -> None:
        try:
            # Without parameters and prepared statements, a file may hold many statements.
            connection.execute(migration.sql.encode(), prepare=False)
        except psycopg.Error as error:
            raise MigrationError(f"{migration.name} failed: {_sentence(error)}") from error
        connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
            (migration.version, migration.name, migration.checksum),
        )


def _read(path: Path) -> Migration:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise MigrationError(f"{path.name} is not named like 0001_what_it_does.sql")
    sql = path.read_text()
    return Migration(int(match[1]), path.stem, sql, hashlib.sha256(sql.encode()).hexdigest())


def _sentence(error: psycopg.Error) -> str:
    """The first line of what Postgres said; the rest may quote data."""
    return str(error).strip().partition("\n")[0]
