"""Migrations: plain SQL files that are applied once each, in order, and never undone.

Each file is one transaction that locks the table `schema_migrations` first. Two runners can
start at the same time: the second one waits, finds nothing left to do and says so. Only the
table's owner can take this lock. An advisory lock would be open to every role of the database,
and the API's role could block the migrations with it.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import NamedTuple

import psycopg

from neon import direct_conninfo

# It excludes itself and every write, and lets others read.
_LOCK = "LOCK TABLE schema_migrations IN SHARE ROW EXCLUSIVE MODE"
_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version    integer     PRIMARY KEY,
        name       text        NOT NULL,
        checksum   text        NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""
_EXISTS = "SELECT WHERE to_regclass('schema_migrations') IS NOT NULL"
_FOREIGN = (
    "The database has other migrations than these, from an earlier state of this repository: "
    "`make reset` deletes the local one, any other has to be made anew"
)
_NAME = re.compile(r"(\d{4})_\w+\.sql")
_CONNECT_SECONDS = 15


class MigrationError(Exception):
    """The schema cannot be brought up to date; the text says why."""


class Migration(NamedTuple):
    """One SQL file: its name without the ending, its text and its checksum."""

    name: str
    sql: str
    checksum: str


def migrations(folder: Path) -> list[Migration]:
    """Return a folder's migrations (`0001_name.sql`), which are numbered from 1 without a gap."""
    found = []
    for number, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        if not _NAME.fullmatch(path.name):
            raise MigrationError(f"{path.name} is not named like 0001_what_it_does.sql")
        if int(path.name[:4]) != number:
            raise MigrationError("Migrations have to be numbered 0001, 0002, ... without a gap")
        sql = path.read_text()
        found.append(Migration(path.stem, sql, hashlib.sha256(sql.encode()).hexdigest()))
    return found


def connect(url: str) -> psycopg.Connection:
    """Connect to a database's direct host."""
    return psycopg.connect(direct_conninfo(url), autocommit=True, connect_timeout=_CONNECT_SECONDS)


def limit_time(connection: psycopg.Connection, end: float | None) -> None:
    """Have Postgres end each statement of this transaction when the time is over."""
    if end is not None:
        left = max(1, int((end - time.monotonic()) * 1000))
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(left),))


class Runner:
    """Applies migrations to one database, on its direct host, within `seconds`.

    The time also bounds the wait for another runner; 0 means that there is no bound.
    """

    def __init__(self, url: str, migrations: list[Migration], *, seconds: float = 0.0) -> None:
        self._url = url
        self._migrations = migrations
        self._end = time.monotonic() + seconds if seconds else None

    def run(self) -> list[str]:
        """Apply the missing migrations and return their names. Raises MigrationError."""
        try:
            with connect(self._url) as connection:
                return self.run_on(connection)
        except psycopg.errors.QueryCanceled as error:
            raise MigrationError("Another run holds the schema, and the time is over") from error
        except psycopg.OperationalError as error:
            raise MigrationError(f"The database cannot be reached: {_sentence(error)}") from error

    def run_on(self, connection: psycopg.Connection) -> list[str]:
        """Do the same over an open connection, inside its transaction if it has one."""
        applied: list[str] = []
        self._create_table(connection)
        while name := self._step(connection):
            applied.append(name)
        return applied

    def _create_table(self, connection: psycopg.Connection) -> None:
        """Create the table that is locked, in a transaction of its own.

        IF NOT EXISTS looks once, for committed tables. A runner that commits after that look makes
        this one fail: with UniqueViolation, DuplicateTable or DuplicateObject, depending on which
        of Postgres' own checks comes next. The failed runner needs the table, not its own success.
        """
        try:
            with connection.transaction():
                limit_time(connection, self._end)
                connection.execute(_TABLE)
        except psycopg.Error:
            if not connection.execute(_EXISTS).rowcount:
                raise

    def _step(self, connection: psycopg.Connection) -> str | None:
        """Apply the next migration, if there is one, as one transaction."""
        with connection.transaction():
            limit_time(connection, self._end)
            connection.execute(_LOCK)
            pending = self._migrations[len(self._recorded(connection)) :]
            if not pending:
                return None
            self._apply(connection, pending[0])
            return pending[0].name

    def _recorded(self, connection: psycopg.Connection) -> list[tuple[str, str]]:
        """Return the applied migrations, after a check that the files have not changed since."""
        recorded = connection.execute(
            "SELECT name, checksum FROM schema_migrations ORDER BY version"
        ).fetchall()
        # A newer version of the API may have gone further; it stays where it is.
        for (name, checksum), known in zip(recorded, self._migrations, strict=False):
            if name != known.name:
                raise MigrationError(_FOREIGN)
            if checksum != known.checksum:
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
            (int(migration.name[:4]), migration.name, migration.checksum),
        )


def _sentence(error: psycopg.Error) -> str:
    """Return the first line of Postgres' message; the rest may quote data."""
    return str(error).strip().partition("\n")[0]
