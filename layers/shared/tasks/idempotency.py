"""Writes under preconditions: only to a version that the client has seen, and only once.

A write with an idempotency key is a trip of four statements in one transaction:

1. `_LOCK` tries to take a lock for the key. Nobody waits: a second request sees that it is taken.
2. `_RECALL` looks for an earlier outcome. It is a statement of its own, with a snapshot of its
   own, so it sees what the lock's last holder recorded.
3. `_RECORD` does the write and stores its outcome.
4. The last one deletes a few expired outcomes.

The first two set `app.proceed` to `no` when there is nothing left to do, and every statement that
writes obeys `PROCEED`. A recorded outcome is the task's row, or `true` when a task is there but
has another version, or `false` when there is no task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import LiteralString, NamedTuple
from uuid import UUID

from pydantic import BaseModel

from neon import Effect, Row, Statement
from tasks.database import run_as
from tasks.errors import (
    KeyInUseError,
    KeyReusedError,
    TaskNotFoundError,
    VersionMismatchError,
)
from tasks.models import Task


class Preconditions(NamedTuple):
    """What has to hold for a write.

    `versions`: the task's `updated_at` is one of these; None for any. `key`: no write with this
    idempotency key was done before; if one was, its outcome is the answer.
    """

    versions: frozenset[datetime] | None = None
    key: str | None = None


class WriteResult(NamedTuple):
    """The task after a write. `replayed`: it is the recorded outcome of an earlier request."""

    task: Task
    replayed: bool = False


class DeleteResult(NamedTuple):
    """The task is gone. `replayed`: an earlier request with this idempotency key deleted it."""

    replayed: bool = False


class Outcome(NamedTuple):
    """What a write did: the row that it returned, or that was recorded for its key."""

    row: Row
    replayed: bool


class Write(NamedTuple):
    """One write of one user.

    `sql` returns the task's row when it did something; it has to obey `PROCEED`, and `IS_VERSION`
    where there are versions. `scope` is what the idempotency key belongs to, and `body` what the
    client sent. `repeatable`: sending it twice does the same as sending it once.
    """

    sql: LiteralString
    user_id: str
    id: UUID
    params: Mapping[str, object]
    scope: str
    body: BaseModel | None = None
    repeatable: bool = False

    def run(self, preconditions: Preconditions) -> Outcome:
        """Do the write.

        Raise TaskNotFoundError, VersionMismatchError, KeyInUseError, KeyReusedError or
        neon.DatabaseError.
        """
        versions = None if preconditions.versions is None else list(preconditions.versions)
        params = {"user_id": self.user_id, "id": self.id, "versions": versions, **self.params}
        if preconditions.key is None:
            return self._plain(params)
        return self._once(params | {"key": preconditions.key})

    def _plain(self, params: Mapping[str, object]) -> Outcome:
        effect = Effect.REPEATABLE if self.repeatable else Effect.ONCE
        statements = [Statement(self.sql, params)]
        if params["versions"] is not None:
            statements.append(Statement(_EXISTS, params))
        done, *existing = run_as(self.user_id, *statements, effect=effect)
        return _outcome(done[0] if done else any(existing))

    def _once(self, params: Mapping[str, object]) -> Outcome:
        """Do it with a key. It may be sent again: a second time finds the first one's outcome."""
        params = {**params, "scope": self.scope, "fingerprint": self._fingerprint()}
        locked, earlier, recorded, _ = run_as(
            self.user_id,
            Statement(_LOCK, params),
            Statement(_RECALL, params),
            Statement("WITH effect AS (" + self.sql + ") " + _RECORD, params),
            Statement("SELECT forget_expired_keys()"),
            effect=Effect.REPEATABLE,
        )
        if earlier:
            if bytes(earlier[0]["fingerprint"]) != params["fingerprint"]:
                raise KeyReusedError
            return _outcome(earlier[0]["outcome"], replayed=True)
        if not locked[0]["free"]:
            raise KeyInUseError
        return _outcome(recorded[0]["outcome"])

    def _fingerprint(self) -> bytes:
        """Return a digest of the body, to notice a key that comes again with another one."""
        sent = b"" if self.body is None else self.body.model_dump_json(exclude_unset=True).encode()
        return hashlib.sha256(sent).digest()


def _outcome(found: Row | bool, *, replayed: bool = False) -> Outcome:
    if found is True:
        raise VersionMismatchError
    if found is False:
        raise TaskNotFoundError
    return Outcome(found, replayed)


PROCEED = "current_setting('app.proceed', true) IS DISTINCT FROM 'no'"

IS_VERSION = "(%(versions)s::timestamptz[] IS NULL OR updated_at = ANY (%(versions)s))"

_EXISTS = "SELECT 1 FROM tasks WHERE user_id = %(user_id)s AND id = %(id)s"

_LOCK = """
SELECT free, set_config('app.proceed', CASE WHEN free THEN 'yes' ELSE 'no' END, true)
FROM pg_try_advisory_xact_lock(
    hashtextextended(jsonb_build_array(%(user_id)s::text, %(scope)s::text, %(key)s::text)::text, 0)
) AS free
"""

_RECALL = """
SELECT fingerprint, outcome, set_config('app.proceed', 'no', true)
FROM idempotency_keys
WHERE user_id = %(user_id)s AND scope = %(scope)s AND key = %(key)s
  AND created_at > now() - interval '24 hours'
"""

# EXISTS sees what was there when the statement began: a task that somebody deleted while the
# statement waited for its row is a version that is gone if the client named one, else not found.
_RECORD = f"""
INSERT INTO idempotency_keys AS known (user_id, scope, key, fingerprint, outcome)
SELECT %(user_id)s, %(scope)s, %(key)s, %(fingerprint)s,
       coalesce(
           (SELECT to_jsonb(effect) FROM effect),
           to_jsonb(
               %(versions)s::timestamptz[] IS NOT NULL
               AND EXISTS (SELECT FROM tasks WHERE user_id = %(user_id)s AND id = %(id)s)
           )
       )
WHERE {PROCEED}
ON CONFLICT (user_id, scope, key) DO UPDATE
SET fingerprint = excluded.fingerprint, outcome = excluded.outcome, created_at = now()
WHERE known.created_at <= now() - interval '24 hours'
RETURNING outcome
"""
