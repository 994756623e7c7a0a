"""What can go wrong between a function and its database.

DatabaseError
├── ConfigurationError     the settings or the credentials are wrong; trying again cannot help
├── UnavailableError       asleep, full, unreachable or out of time; nothing was done; try again
│   └── TimedOutError      the unit of work's own `timeout` ran out; the server has stopped it
├── OutcomeUnknownError    the unit of work was sent and no answer came: it may have been done
├── ConflictError          met a constraint, a lock or another transaction; nothing was done
├── StatementError         the statement is wrong or not allowed; nothing was done
└── ResultError            the unit of work was done, but its result cannot be read

No error holds a password, a parameter or a column's value. Postgres puts values into its messages
(`Key (email)=(...) already exists`), so none of our errors repeats a message of the server about a
statement: the SQLSTATE, its name and the constraint's name say what is needed.
"""

from __future__ import annotations

import psycopg.errors
from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

# Serialization failure, deadlock, lock not available:
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_CONFLICTS = {"40001", "40P01", "55P03"}
# Query canceled (by `statement_timeout` or by a cancel request); transaction timeout.
_STOPPED = {"57014", "25P04"}
# Insufficient resources; cannot connect now. The server is up, but it cannot work now.
_UNAVAILABLE = ("53", "57P03")
# Disk full: on Neon also the limit of the project's storage.
_FULL = "53100"


class DatabaseError(Exception):
    """The root of this package's errors."""


class ConfigurationError(DatabaseError):
    """The settings or the credentials are wrong, or a quota is used up; a person has to act."""


class UnavailableError(DatabaseError):
    """The database could not be used and nothing was done.

    `retry_after` is the number of seconds after which another try makes sense.
    """

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TimedOutError(UnavailableError):
    """The unit of work took longer than its own `timeout`, and the server has stopped it."""


class OutcomeUnknownError(DatabaseError):
    """The unit of work was sent and its response never came: it may have been done."""


class ConflictError(DatabaseError):
    """The database refused the statement because of what other rows or transactions hold.

    `sqlstate` is 23xxx, 40001, 40P01 or 55P03; `constraint` names the violated one, if any.
    """

    def __init__(self, message: str, *, sqlstate: str = "", constraint: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.constraint = constraint


class StatementError(DatabaseError):
    """The statement cannot be run as it is; `sqlstate` is empty if it was never sent."""

    def __init__(self, message: str, *, sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class ResultError(DatabaseError):
    """The unit of work was done, but a value in its result has no Python form."""


def error_of(result: PGresult) -> DatabaseError:
    """Return the error for a result with which the server rolled the unit of work back."""
    sqlstate = field(result, DiagnosticField.SQLSTATE)
    if sqlstate.startswith("23") or sqlstate in _CONFLICTS:
        constraint = field(result, DiagnosticField.CONSTRAINT_NAME)
        return ConflictError(describe(sqlstate), sqlstate=sqlstate, constraint=constraint)
    if sqlstate in _STOPPED:
        return TimedOutError("the server stopped the unit of work and rolled it back")
    if sqlstate == _FULL:
        return ConfigurationError(describe(sqlstate))
    if sqlstate.startswith(_UNAVAILABLE):
        return UnavailableError(describe(sqlstate))
    return StatementError(describe(sqlstate), sqlstate=sqlstate)


def describe(sqlstate: str) -> str:
    """Return a sentence for an SQLSTATE, without any of the server's words."""
    try:
        name = psycopg.errors.lookup(sqlstate).__name__
    except KeyError:
        name = "a condition without a name"
    return f"Postgres refused the unit of work: {name} ({sqlstate or 'no SQLSTATE'})"


def field(result: PGresult, name: DiagnosticField) -> str:
    """Return one field of an error or a notice, empty if the server did not send it."""
    return (result.error_field(name) or b"").decode(errors="replace")


def is_fatal(result: PGresult) -> bool:
    """Return whether the server ended the session with this error or notice.

    A transaction timeout ends the session, too, but only ever before the commit: it counts as an
    ordinary error, after which the transaction is rolled back.
    """
    severity = field(result, DiagnosticField.SEVERITY_NONLOCALIZED)
    severity = severity or field(result, DiagnosticField.SEVERITY)
    is_timeout = field(result, DiagnosticField.SQLSTATE) in _STOPPED
    return severity in ("FATAL", "PANIC") and not is_timeout
