"""One unit of work, and the batch of statements that it is sent as."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from psycopg.abc import Transformer

from neon._statement import (
    Bound,
    Effect,
    Isolation,
    Statement,
    bind,
    bind_isolation,
    bind_settings,
)

__all__ = ["UnitOfWork"]

# The server looks every second whether its client is still there, while it runs a statement.
_CHECK = "set_config('client_connection_check_interval', '1000', true)"
_CHECK_VERSION, _TRANSACTION_TIMEOUT_VERSION = 150000, 170000
_READ_ONLY = "set_config('transaction_read_only', 'on', true)"
# So much later than `statement_timeout`, which ends a statement but not the session.
_TRANSACTION_TIMEOUT_MILLISECONDS = 50


class UnitOfWork(NamedTuple):
    """Statements that make one transaction and one round trip, and how they are run."""

    statements: Sequence[Statement]
    effect: Effect
    settings: Mapping[str, str]
    timeout: float | None
    isolation: Isolation | None
    lock: str

    @classmethod
    def of(
        cls,
        statements: Sequence[Statement],
        effect: Effect,
        settings: Mapping[str, str] | None,
        timeout: float | None,
        isolation: Isolation | None,
    ) -> UnitOfWork:
        """Return the unit of work, with a lock of its own if it may be sent again.

        All of its attempts take this lock first, so each one waits until the one before has ended.
        """
        lock = int.from_bytes(os.urandom(8), signed=True) if effect is Effect.REPEATABLE else ""
        return cls(statements, effect, settings or {}, timeout, isolation, str(lock))

    def batch(
        self, transformer: Transformer, seconds: float, version: int, guard: Statement | None
    ) -> list[Bound]:
        """Return what to send to a server of this version, which may take so many seconds."""
        limits, constant = self._limits(seconds, version)
        batch = [bind_isolation(self.isolation)] if self.isolation else []
        if guard is None:
            limits.update(self.settings)
        batch.append(bind_settings(limits, constant, self.lock))
        if guard is not None:
            batch.append(bind(guard, transformer))
            batch += [bind_settings(self.settings)] if self.settings else []
        batch += [bind(each, transformer) for each in self.statements]
        return batch

    @property
    def guard_position(self) -> int:
        """Where the guard stands in a batch that has one."""
        return 2 if self.isolation else 1

    def _limits(self, seconds: float, version: int) -> tuple[dict[str, str], str]:
        """Return the settings by which the server ends what nobody waits for any more.

        The second member is SQL for those that are always the same.
        """
        milliseconds = max(1, int(seconds * 1000))
        limits = {"statement_timeout": str(milliseconds)}
        if version >= _TRANSACTION_TIMEOUT_VERSION:
            limits["transaction_timeout"] = str(milliseconds + _TRANSACTION_TIMEOUT_MILLISECONDS)
        constant = [_CHECK] if version >= _CHECK_VERSION else []
        constant += [_READ_ONLY] if self.effect is Effect.READ else []
        return limits, ", ".join(constant)
