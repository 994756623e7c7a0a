"""On what terms a write happens: only for the version that was seen, and only once.

A write with an idempotency key is four statements in one transaction and one round trip. The
first takes a lock that nobody waits for, the second looks for an earlier outcome (in a snapshot
of its own, so that what the lock's last holder recorded is seen), the third does the work unless
one of the two said no, and records its outcome with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from pydantic import BaseModel

from neon import Effect, Row, Statement
from tasks.database import database
from tasks.models import Task


class TaskNotFoundError(Exception):
    """There is no such task, or it is somebody else's; nobody may learn which."""


class VersionMismatchError(Exception):
    """The task is not, or no longer, the version that the client has seen; nothing was changed."""


class KeyInUseError(Exception):
    """A write with the same idempotency key is still running."""


class KeyReusedError(Exception):
    """The idempotency key came before with another body."""


class Preconditions(NamedTuple):
    """`versions`: the `updated_at`s that may be changed, None for any. `key`: do it only once."""

    versions: frozenset[datetime] | None = None
    key: str | None = None


class WriteResult(NamedTuple):
    """The task after a write, and whether this is the recorded outcome of an earlier one."""

    task: Task
    replayed: bool = False


class Write(NamedTuple):
    """One write of one user: its statement, what it is recorded under, and what it says.

    `sql` returns the task's row when it did something. It has to honour
    `current_setting('app.once', true) IS DISTINCT FROM 'no'`.
    """

    sql: LiteralString
    user_id: str
    id: UUID
    params: Mapping[str, object]
    scope: str
    body: BaseModel | None = None
    repeatable: bool = False

    def run(self, preconditions: Preconditions) -> WriteResult:
        """Do it on these preconditions.

        Raises TaskNotFoundError, VersionMismatchError, KeyInUseError, KeyReusedError and
        neon.DatabaseError.
        """
        if preconditions.key is not None:
            return self._once(preconditions, preconditions.key)
        params = self._params(preconditions)
        statements = [Statement(self.sql, params)]
        if preconditions.versions is not None:
            statements.append(Statement(_EXISTS, params))
        effect = Effect.REPEATABLE if self.repeatable else Effect.ONCE
        done, *existing = self._send(*statements, effect=effect)
        return WriteResult(_task(done[0] if done else any(existing)))

    def _once(self, preconditions: Preconditions, key: str) -> WriteResult:
        """With a key the write may be sent again: a second time finds the first one's outcome."""
        params = self._params(preconditions) | {
            "scope": self.scope,
            "key": key,
            "fingerprint": self._fingerprint(),
        }
        locked, earlier, recorded, _ = self._send(
            Statement(_LOCK, params),
            Statement(_RECALL, params),
            Statement("WITH effect AS (" + self.sql + ") " + _RECORD, params),
            Statement("SELECT forget_expired_keys()"),
            effect=Effect.REPEATABLE,
        )
        if earlier:
            if bytes(earlier[0]["fingerprint"]) != params["fingerprint"]:
                raise KeyReusedError
            return WriteResult(_task(earlier[0]["outcome"]), replayed=True)
        if not locked[0]["free"]:
            raise KeyInUseError
        return WriteResult(_task(recorded[0]["outcome"]))

    def _send(self, *statements: Statement, effect: Effect) -> list[list[Row]]:
        return database().run(*statements, effect=effect, settings=acting_as(self.user_id))

    def _params(self, preconditions: Preconditions) -> dict[str, object]:
        versions = None if preconditions.versions is None else list(preconditions.versions)
        return {"user_id": self.user_id, "id": self.id, "versions": versions, **self.params}

    def _fingerprint(self) -> bytes:
        """What the client said, so that a key that is used for something else is noticed."""
        said = b"" if self.body is None else self.body.model_dump_json(exclude_unset=True).encode()
        return hashlib.sha256(said).digest()


def acting_as(user_id: str) -> dict[str, str]:
    """The settings of a transaction for one user, to be applied in this order.

    Whatever role the connection has (its owner's may bypass row-level security), the statements
    run as `task_api`, which may not; a row that a statement forgot to exclude stays hidden.
    """
    return {"role": "task_api", "app.user_id": user_id}


def _task(outcome: Any) -> Task:
    """The task of an outcome: its row, or whether there is one that was not written to."""
    if outcome is True:
        raise VersionMismatchError
    if outcome is False:
        raise TaskNotFoundError
    return Task.model_validate(outcome)


_EXISTS = "SELECT 1 FROM tasks WHERE user_id = %(user_id)s AND id = %(id)s"

_LOCK = """
SELECT free, set_config('app.once', CASE WHEN free THEN '' ELSE 'no' END, true)
FROM pg_try_advisory_xact_lock(
    hashtextextended(jsonb_build_array(%(user_id)s::text, %(scope)s::text, %(key)s::text)::text, 0)
) AS free
"""

_RECALL = """
SELECT fingerprint, outcome, set_config('app.once', 'no', true)
FROM idempotency_keys
WHERE user_id = %(user_id)s AND scope = %(scope)s AND key = %(key)s
  AND created_at > now() - interval '24 hours'
"""

# EXISTS sees what was there when the statement began: a task that somebody deleted while it waited
# for the row is a version that is gone where the client named one, and else not found.
_RECORD = """
INSERT INTO idempotency_keys AS known (user_id, scope, key, fingerprint, outcome)
SELECT %(user_id)s, %(scope)s, %(key)s, %(fingerprint)s,
       coalesce(
           (SELECT to_jsonb(effect) FROM effect),
           to_jsonb(
               %(versions)s::timestamptz[] IS NOT NULL
               AND EXISTS (SELECT FROM tasks WHERE user_id = %(user_id)s AND id = %(id)s)
           )
       )
WHERE current_setting('app.once', true) IS DISTINCT FROM 'no'
ON CONFLICT (user_id, scope, key) DO UPDATE
SET fingerprint = excluded.fingerprint, outcome = excluded.outcome, created_at = now()
WHERE known.created_at <= now() - interval '24 hours'
RETURNING outcome
"""
