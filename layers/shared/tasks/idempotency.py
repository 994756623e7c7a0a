"""Do a write once under its idempotency key, whatever the write is.

A write is a list of statements that end in one JSON outcome: one task, fifty, or a number. With a
key they are one transaction, in one round trip, between these statements:

1. `_LOCK` tries to take a lock for the key. A second request does not wait: it sees that the lock
   is taken. Only a request that `neon` sends again, after its response was lost, waits: for the end
   of its own first attempt.
2. `_RECALL` looks for an earlier outcome. It is a statement of its own, with a snapshot of its
   own, so it sees what the lock's last holder recorded.
3. `_QUOTA` refuses a key too many.
4. The write itself.
5. `_RECORD` stores its outcome.
6. What the write deletes `afterwards`: the trigger takes the deleted text out of the record.

The first three set `app.proceed` to `no` when there is nothing left to do, and every statement that
writes obeys `PROCEED`.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Generic, LiteralString, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel

from neon import Effect, Row, Statement
from tasks.database import lock_number, run_as
from tasks.errors import KeyInUseError, KeyReusedError, QuotaExceededError
from tasks.settings import settings

T = TypeVar("T")


class Preconditions(NamedTuple):
    """What has to hold for a write.

    `versions`: the task's `updated_at` is one of these, or with `unless` none of these; None for
    any. `key`: no write with this idempotency key was done before; if one was, its outcome is
    returned again.
    """

    versions: frozenset[datetime] | None = None
    unless: bool = False
    key: str | None = None


class WriteResult(NamedTuple, Generic[T]):
    """The value that a write returned. `replayed`: an earlier request with this key did it."""

    value: T
    replayed: bool = False


def run_once(
    user_id: str,
    *statements: Statement,
    key: str | None,
    scope: str,
    body: BaseModel | None = None,
    tasks: Sequence[UUID] = (),
    afterwards: Sequence[Statement] = (),
) -> WriteResult[str | None]:
    """Run the statements as one transaction of the user, once for all requests with this key.

    Every statement that writes obeys `PROCEED`, and the last one returns the outcome by `outcome`.
    `scope` is the operation and its target, `body` the request's. `tasks` are those whose text the
    outcome holds. Once one of them was deleted, a replay returns None, or of a list of tasks those
    that are left, and null for every other element. `afterwards` has the statements that delete
    tasks whose text the outcome holds.

    Without a key nothing is recorded, and a lost response is neon.OutcomeUnknownError. Raise
    KeyInUseError, KeyReusedError, QuotaExceededError or neon.DatabaseError.
    """
    if key is None:
        results = run_as(user_id, *statements, *afterwards, effect=Effect.ONCE)
        return WriteResult(_outcome(results[: len(statements)]))
    params = {
        "user_id": user_id,
        "scope": scope,
        "key": key,
        "lock": lock_number(user_id, scope, key),
        "fingerprint": _fingerprint(body),
        "tasks": list(tasks),
        "quota": settings().max_keys_per_user,
    }
    locked, earlier, *results = run_as(
        user_id,
        Statement(_LOCK, params),
        Statement(_RECALL, params),
        Statement(_QUOTA, params),
        *statements,
        Statement(_RECORD, params),
        *afterwards,
        effect=Effect.REPEATABLE,
    )
    if earlier:
        return _replay(earlier[0], params["fingerprint"])
    if not locked[0]["free"]:
        raise KeyInUseError
    return WriteResult(_outcome(results[: len(statements) + 1]))


def outcome(expression: LiteralString) -> LiteralString:
    """Return the column by which a write returns its outcome; the expression is JSON as text."""
    return f"set_config('app.outcome', {expression}, true) AS outcome"


def quota(what: LiteralString, rows: LiteralString) -> LiteralString:
    """Return the statement that refuses a write when there are `%(quota)s` such rows already.

    `rows` is a query of them; no more than the quota are counted.
    """
    return f"""
    SELECT '{what}' AS exceeded, %(quota)s::integer AS quota,
           set_config('app.proceed', 'no', true)
    WHERE {PROCEED} AND %(quota)s::integer <= (
        SELECT count(*) FROM ({rows} LIMIT %(quota)s::integer) AS counted
    )
    """


def _fingerprint(body: BaseModel | None) -> bytes:
    """Return a digest of the body, to notice a key that comes again with another one."""
    sent = b"" if body is None else body.model_dump_json(exclude_unset=True).encode()
    return hashlib.sha256(sent).digest()


def _replay(earlier: Row, fingerprint: object) -> WriteResult[str | None]:
    if bytes(earlier["fingerprint"]) != fingerprint:
        raise KeyReusedError
    return WriteResult(earlier["outcome"], replayed=True)


def _outcome(results: list[list[Row]]) -> str:
    for row in chain(*results):
        if "exceeded" in row:
            raise QuotaExceededError(row["exceeded"], row["quota"])
    outcome: str = results[-1][0]["outcome"]
    return outcome


PROCEED = "current_setting('app.proceed', true) IS DISTINCT FROM 'no'"

_LOCK = """
SELECT free, set_config('app.proceed', CASE WHEN free THEN 'yes' ELSE 'no' END, true)
FROM (
    SELECT CASE WHEN current_setting('neon.resent', true) = 'yes'
           THEN pg_advisory_xact_lock(%(lock)s::bigint) IS NOT NULL
           ELSE pg_try_advisory_xact_lock(%(lock)s::bigint) END AS free
    OFFSET 0
) AS attempt
"""

_RECALL = """
SELECT fingerprint, outcome::text, set_config('app.proceed', 'no', true)
FROM idempotency_keys
WHERE user_id = %(user_id)s AND scope = %(scope)s AND key = %(key)s
  AND created_at > now() - interval '24 hours'
"""

_QUOTA = quota(
    "keys",
    """
    SELECT FROM idempotency_keys
    WHERE user_id = %(user_id)s AND created_at > now() - interval '24 hours'
    """,
)

# An expired record of the same key, which the hourly purge has not deleted yet, makes way.
_RECORD = f"""
INSERT INTO idempotency_keys (user_id, scope, key, fingerprint, outcome, tasks)
SELECT %(user_id)s, %(scope)s, %(key)s, %(fingerprint)s,
       current_setting('app.outcome')::json, %(tasks)s::uuid[]
WHERE {PROCEED}
ON CONFLICT (user_id, scope, key) DO UPDATE
SET fingerprint = excluded.fingerprint, outcome = excluded.outcome, tasks = excluded.tasks,
    created_at = now()
"""
