"""What can go wrong with tasks, apart from the database itself (neon.DatabaseError)."""


class TaskNotFoundError(Exception):
    """The user has no such task; whether somebody else has it, nobody may learn."""


class VersionMismatchError(Exception):
    """The task is not at a version that the client has seen; nothing was changed."""


class KeyInUseError(Exception):
    """A write with the same idempotency key is still running."""


class KeyReusedError(Exception):
    """The idempotency key was used before with another body."""


class InvalidCursorError(Exception):
    """The cursor was altered, or it was made for another user, filter or order."""


class TooManyListsError(Exception):
    """The user has as many lists at work in the database as a user may have at once."""


class OperationRefusedError(Exception):
    """An operation of a batch, `operation` from 0, cannot be done for a `reason`: an error of this
    module. No operation of the batch was done.
    """

    def __init__(self, operation: int, reason: Exception) -> None:
        super().__init__(f"operation {operation}: {reason}")
        self.operation = operation
        self.reason = reason


class QuotaExceededError(Exception):
    """The user has as many tasks or idempotency keys as a user may have; nothing was changed.

    `what` is "tasks" or "keys", `quota` the most that a user may have. The text is one sentence
    for the client.
    """

    def __init__(self, what: str, quota: int) -> None:
        super().__init__(_SENTENCES[what].format(quota))
        self.what = what
        self.quota = quota


_SENTENCES = {
    "tasks": "You have {:,} tasks, and that is the most a user may have; delete some first",
    "keys": "You have used {:,} idempotency keys within 24 hours, and that is the most a user may;"
    " write without a key or wait",
}
