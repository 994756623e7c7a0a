"""What can go wrong between a function and its database.

DatabaseError
├── Misconfigured     the settings are wrong; trying again cannot help
├── Unavailable       asleep, full, unreachable or out of time; nothing was done; try again
├── OutcomeUnknown    a write was sent and its answer was lost: done or not, nobody knows
└── Conflict          the statement met a constraint or another transaction; nothing was done
"""


class DatabaseError(Exception):
    """The root of this package's errors. Its text never holds a password or a parameter."""


class Misconfigured(DatabaseError):
    """The settings or the credentials are wrong; a person has to change them."""


class Unavailable(DatabaseError):
    """The database could not be used and nothing was done.

    `retry_after` says after how many seconds another try makes sense.
    """

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeUnknown(DatabaseError):
    """A write was sent and the connection died before its answer: it may have happened."""


class Conflict(DatabaseError):
    """The database refused the statement for what other rows or transactions hold."""
