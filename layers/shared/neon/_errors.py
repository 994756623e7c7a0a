"""What can go wrong between a function and its database.

DatabaseError
├── ConfigurationError     the settings or the credentials are wrong; trying again cannot help
├── UnavailableError       asleep, full, unreachable or out of time; nothing was done; try again
│   └── TimedOutError      the unit of work's own time limit ran out, and the server stopped it
├── OutcomeUnknownError    a write was sent and its answer was lost: done or not, nobody knows
├── ConflictError          met a constraint, a lock or another transaction; nothing was done
└── StatementError    the statement itself is wrong or not allowed; nothing was done

No text in here holds a password, a parameter or a column's value. Postgres puts values into its
messages (`Key (email)=(...) already exists`), so a message of the server's never becomes one of
ours: the SQLSTATE, its name and the constraint's name say what is needed.
"""

from __future__ import annotations

import psycopg.errors
from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "DatabaseError",
    "OutcomeUnknownError",
    "StatementError",
    "TimedOutError",
    "UnavailableError",
    "error_of",
]

# Serialization failure, deadlock, lock not available:
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_CONFLICTS = {"40001", "40P01", "55P03"}
_QUERY_CANCELED = "57014"
# Insufficient resources; cannot connect now. The server lives and is only not able.
_UNAVAILABLE = ("53", "57P03")


class DatabaseError(Exception):
    """The root of this package's errors."""


class ConfigurationError(DatabaseError):
    """The settings or the credentials are wrong, or a quota is used up; a person has to act."""


class UnavailableError(DatabaseError):
    """The database could not be used and nothing was done.

    `retry_after` says after how many seconds another try makes sense.
    """

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TimedOutError(UnavailableError):
    """The time limit of this unit of work ran out; the server stopped it and nothing was done."""


class OutcomeUnknownError(DatabaseError):
    """A write was sent and its answer never came: it may have happened."""


class ConflictError(DatabaseError):
    """The database refused the statement for what other rows or transactions hold.

    `sqlstate` is 23xxx, 40001, 40P01 or 55P03; `constraint` names the one that was met, if any.
    """

    def __init__(self, message: str, *, sqlstate: str = "", constraint: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.constraint = constraint


class StatementError(DatabaseError):
    """The statement cannot be run as it is; `sqlstate` is empty where it never left Python."""

    def __init__(self, message: str, *, sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


def error_of(result: PGresult) -> DatabaseError:
    """The error for a result with which the server rolled the unit of work back."""
    sqlstate = _field(result, DiagnosticField.SQLSTATE)
    if sqlstate.startswith("23") or sqlstate in _CONFLICTS:
        constraint = _field(result, DiagnosticField.CONSTRAINT_NAME)
        return ConflictError(_described(sqlstate), sqlstate=sqlstate, constraint=constraint)
    if sqlstate == _QUERY_CANCELED:
        return UnavailableError("the statement ran out of time and was rolled back")
    if sqlstate.startswith(_UNAVAILABLE):
        return UnavailableError(_described(sqlstate))
    return StatementError(_described(sqlstate), sqlstate=sqlstate)


def _described(sqlstate: str) -> str:
    try:
        name = psycopg.errors.lookup(sqlstate).__name__
    except KeyError:
        name = "a condition without a name"
    return f"Postgres refused the unit of work: {name} ({sqlstate or 'no SQLSTATE'})"


def _field(result: PGresult, field: DiagnosticField) -> str:
    return (result.error_field(field) or b"").decode(errors="replace")
