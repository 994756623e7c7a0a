"""Migrations: plain SQL files that are applied once each, in order, and never undone.

Each file is one transaction that locks the table `schema_migrations` first. Two runners can
start at the same time: the second one waits, finds nothing left to do and says so. Only the
table's owner can take this lock. An advisory lock would be open to every role of the database,
and the API's role could block the migrations with it.

The schema is `public`, and every statement names it: names without a schema are Postgres' own.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from pathlib import Path
from typing import Any, LiteralString, NamedTuple

import psycopg

from neon import UnavailableError, direct_connection, direct_transaction

logger = logging.getLogger(__name__)

# It excludes itself and every write, and lets others read.
_LOCK = "LOCK TABLE public.schema_migrations IN SHARE ROW EXCLUSIVE MODE"
_TABLE = """
    CREATE TABLE IF NOT EXISTS public.schema_migrations (
        version    integer     PRIMARY KEY,
        name       text        NOT NULL,
        checksum   text        NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""
_EXISTS = "SELECT WHERE to_regclass('public.schema_migrations') IS NOT NULL"
# A table of somebody else, a trigger or a rule would run their code with our rights.
_IS_OURS = """
    SELECT FROM pg_class
    WHERE oid = to_regclass('public.schema_migrations') AND relkind = 'r'
      AND relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
      AND NOT relhastriggers AND NOT relhasrules
"""
# Default privileges may have given rights on the new table to others. PUBLIC is the role 0.
_STRANGERS = """
    SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
    FROM pg_class, aclexplode(relacl)
    WHERE oid = to_regclass('public.schema_migrations') AND grantee <> relowner
"""
_CREATORS = """
    SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
    FROM pg_namespace, aclexplode(nspacl)
    WHERE nspname = 'public' AND privilege_type = 'CREATE' AND grantee <> nspowner
      AND grantee <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
"""
_MAY_CLOSE = "SELECT FROM pg_namespace WHERE nspname = 'public' AND pg_has_role(nspowner, 'USAGE')"
_FOREIGN = (
    "The database has other migrations than these, from an earlier state of this repository: "
    "`make reset` deletes the local one, any other has to be made anew"
)
_CHANGED = (
    "{} was changed after it had been applied: restore the file, or delete the local database"
    " with `make reset`"
)
_NAME = re.compile(r"(\d{4})_\w+\.sql")


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
        text = path.read_text(encoding="utf-8")
        found.append(Migration(path.stem, text, hashlib.sha256(text.encode()).hexdigest()))
    return found


def limit_time(connection: psycopg.Connection, end: float | None) -> None:
    """Have Postgres end each statement of this transaction when the time is over."""
    if end is not None:
        left = max(1, int((end - time.monotonic()) * 1000))
        connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(left),))


def check_database(connection: psycopg.Connection) -> None:
    """Raise MigrationError for a database that the API could not use; change nothing."""
    encoding = connection.execute("SELECT current_setting('server_encoding')").fetchone()
    if encoding != ("UTF8",):
        raise MigrationError(
            f"The database's encoding is {encoding and encoding[0]}, which cannot hold every text"
            " that the API accepts; use a database that was created with ENCODING 'UTF8'"
        )
    others = creators(connection)
    if others and not connection.execute(_MAY_CLOSE).rowcount:
        raise MigrationError(
            "Others may create in the schema public; let its owner run"
            f" REVOKE CREATE ON SCHEMA public FROM {', '.join(others)}"
        )


def creators(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the roles that may create in the schema beside its owner and this role."""
    return _roles(connection, _CREATORS)


class Runner:
    """Applies migrations to one database, on its direct host, within `seconds`.

    The time also bounds the wait for another runner; 0 means that there is no bound.
    """

    def __init__(self, url: str, migrations: list[Migration], *, seconds: float = 0.0) -> None:
        self._url = url
        self._migrations = migrations
        self._end = time.monotonic() + seconds if seconds else None

    def run(self) -> list[str]:
        """Apply the missing migrations and return their names. Raise MigrationError."""
        try:
            with direct_connection(self._url) as connection:
                return self.run_on(connection)
        except psycopg.errors.QueryCanceled as error:
            raise MigrationError("Another run holds the schema, and the time is over") from error
        except (UnavailableError, psycopg.OperationalError) as error:
            raise MigrationError(f"The database cannot be reached: {_sentence(error)}") from error

    def run_on(self, connection: psycopg.Connection) -> list[str]:
        """Do the same over an open direct connection, inside its transaction if it has one."""
        with direct_transaction(connection):
            check_database(connection)
        self._create_table(connection)
        applied: list[str] = []
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
            with direct_transaction(connection):
                limit_time(connection, self._end)
                connection.execute(_TABLE)
                for role in _roles(connection, _STRANGERS):
                    connection.execute(
                        f"REVOKE ALL ON TABLE public.schema_migrations FROM {role} CASCADE".encode()
                    )
        except psycopg.Error:
            if not _finds(connection, _EXISTS):
                raise
        if not _finds(connection, _IS_OURS):
            raise MigrationError(
                "public.schema_migrations was made by another role, or has triggers or rules;"
                " migrate as the role that owns it"
            )

    def _step(self, connection: psycopg.Connection) -> str | None:
        """Apply the next migration, if there is one, as one transaction."""
        with direct_transaction(connection):
            limit_time(connection, self._end)
            connection.execute(_LOCK)
            pending = self._migrations[len(self.recorded(connection)) :]
            if not pending:
                return None
            _close_schema(connection)
            self._apply(connection, pending[0])
            return pending[0].name

    def recorded(self, connection: psycopg.Connection) -> list[tuple[str, str]]:
        """Return the applied migrations. Raise MigrationError for others than our files."""
        recorded = connection.execute(
            "SELECT name, checksum FROM public.schema_migrations ORDER BY version"
        ).fetchall()
        # A newer version of the API may have gone further; it stays where it is.
        for (name, checksum), known in zip(recorded, self._migrations, strict=False):
            if name != known.name:
                raise MigrationError(_FOREIGN)
            if checksum != known.checksum:
                raise MigrationError(_CHANGED.format(known.name))
        return recorded

    @staticmethod
    def _apply(connection: psycopg.Connection, migration: Migration) -> None:
        try:
            # Without parameters and prepared statements, a file may hold many statements.
            connection.execute(migration.sql.encode(), prepare=False)
        except psycopg.Error as error:
            raise MigrationError(f"{migration.name} failed: {_sentence(error)}") from error
        connection.execute(
            "INSERT INTO public.schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
            (int(migration.name[:4]), migration.name, migration.checksum),
        )


def _finds(connection: psycopg.Connection, query: LiteralString) -> bool:
    with direct_transaction(connection):
        return connection.execute(query).rowcount > 0


def _roles(connection: psycopg.Connection, query: LiteralString) -> list[str]:
    """Return the roles that a query finds, quoted as identifiers where they need it."""
    return [name for (name,) in connection.execute(query).fetchall()]


def _close_schema(connection: psycopg.Connection) -> None:
    """Take the right to create in the schema from everybody but its owner and ourselves."""
    for role in creators(connection):
        connection.execute(f"REVOKE CREATE ON SCHEMA public FROM {role} CASCADE".encode())
        logger.warning("The right to create in the schema public is taken from %s", role)
    if others := creators(connection):
        raise MigrationError(f"{others[0]} may still create in the schema public")


def _sentence(error: Exception) -> str:
    """Return the first line of Postgres' message; the rest may quote data."""
    return str(error).strip().partition("\n")[0]
