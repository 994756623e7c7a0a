"""Writes under preconditions: only to a version that the client has seen, and only once.

A write with an idempotency key is one trip of these statements in one transaction:

1. `_LOCK` tries to take a lock for the key. Nobody waits: a second request sees that it is taken.
2. `_RECALL` looks for an earlier outcome. It is a statement of its own, with a snapshot of its
   own, so it sees what the lock's last holder recorded.
3. `_QUOTA_OF_KEYS`, and for a create `_QUOTA_OF_TASKS`, ask whether the user may have one more.
4. `_RECORD` does the write and stores its outcome.
5. The last one deletes a few expired outcomes.

The first three set `app.proceed` to `no` when there is nothing left to do, and every statement that
writes obeys `PROCEED`.

An outcome is JSON: `true` when a task was there with another version, `false` when there was no
task, and else what the task became, without its texts. A replay takes those from the task, or from
`replaced_texts` where they have changed since; a trigger copies them there in time. A member
that a later version of the API added comes from the task, too. Nothing is left to tell once the
task is deleted: the replay of an older write of it is TaskNotFoundError.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import LiteralString, NamedTuple
from uuid import UUID

from pydantic import BaseModel

from neon import Effect, Row, Statement
from tasks.database import run_as
from tasks.errors import (
    KeyInUseError,
    KeyReusedError,
    QuotaExceededError,
    TaskNotFoundError,
    VersionMismatchError,
)
from tasks.models import TEXTS, Task
from tasks.settings import settings


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
    """What a write did: the row it returned; on a replay what can still be told, else None."""

    row: Row | None
    replayed: bool = False


class Write(NamedTuple):
    """One write of one user.

    `sql` returns a row when it did something; it has to obey `PROCEED`, and `IS_VERSION` where
    there are versions, and to set the column `recorded_at` to the new version when there is
    a key. `scope` is what an
    idempotency key belongs to, and `body` what the client sent. `creates`: it adds a task, and
    sending it twice does the same as sending it once.
    """

    sql: LiteralString
    user_id: str
    id: UUID
    params: Mapping[str, object]
    scope: str
    body: BaseModel | None = None
    creates: bool = False

    def run(self, preconditions: Preconditions) -> Outcome:
        """Do the write.

        Raise TaskNotFoundError, VersionMismatchError, KeyInUseError, KeyReusedError,
        QuotaExceededError or neon.DatabaseError.
        """
        params = {
            "user_id": self.user_id,
            "id": self.id,
            "versions": None if preconditions.versions is None else [*preconditions.versions],
            "key": preconditions.key,
            "max_tasks": settings().max_tasks_per_user,
            "max_keys": settings().max_keys_per_user,
            **self.params,
        }
        return self._plain(params) if preconditions.key is None else self._once(params)

    def _plain(self, params: Mapping[str, object]) -> Outcome:
        if self.creates:
            return self._create(params)
        statements = [Statement(self.sql, params)]
        if params["versions"] is not None:
            statements.append(Statement(_EXISTS, params))
        done, *existing = run_as(self.user_id, *statements, effect=Effect.ONCE)
        return Outcome(_row(done[0] if done else any(existing)))

    def _create(self, params: Mapping[str, object]) -> Outcome:
        statements = Statement(_QUOTA_OF_TASKS, params), Statement(self.sql, params)
        exceeded, created = run_as(self.user_id, *statements, effect=Effect.REPEATABLE)
        _check_quota(exceeded)
        return Outcome(_row(created[0] if created else False))

    def _once(self, params: Mapping[str, object]) -> Outcome:
        """Do it with a key. It may be sent again: a second time finds the first one's outcome."""
        params = {**params, "scope": self.scope, "fingerprint": self._fingerprint()}
        quotas = (_QUOTA_OF_TASKS, _QUOTA_OF_KEYS) if self.creates else (_QUOTA_OF_KEYS,)
        locked, earlier, *exceeded, recorded, _ = run_as(
            self.user_id,
            Statement(_LOCK, params),
            Statement(_RECALL, params),
            *(Statement(quota, params) for quota in quotas),
            Statement("WITH effect AS (" + self.sql + ") " + _RECORD, params),
            Statement("SELECT forget_expired_keys()"),
            effect=Effect.REPEATABLE,
        )
        if earlier:
            return self._replay(earlier[0], params["fingerprint"])
        if not locked[0]["free"]:
            raise KeyInUseError
        _check_quota(*exceeded)
        _row(recorded[0]["outcome"])
        return Outcome(recorded[0]["task"])

    @staticmethod
    def _replay(earlier: Row, fingerprint: object) -> Outcome:
        if bytes(earlier["fingerprint"]) != fingerprint:
            raise KeyReusedError
        _row(earlier["outcome"])
        return Outcome(earlier["task"], replayed=True)

    def _fingerprint(self) -> bytes:
        """Return a digest of the body, to notice a key that comes again with another one."""
        sent = b"" if self.body is None else self.body.model_dump_json(exclude_unset=True).encode()
        return hashlib.sha256(sent).digest()


def _row(outcome: Row | bool) -> Row:
    if outcome is True:
        raise VersionMismatchError
    if outcome is False:
        raise TaskNotFoundError
    return outcome


def _check_quota(*exceeded: Sequence[Row]) -> None:
    for each in chain(*exceeded):
        raise QuotaExceededError(each["what"], each["quota"])


PROCEED = "current_setting('app.proceed', true) IS DISTINCT FROM 'no'"

IS_VERSION = "(%(versions)s::timestamptz[] IS NULL OR updated_at = ANY (%(versions)s))"

_TEXTS = f"'{{{','.join(TEXTS)}}}'::text[]"

_EXISTS = "SELECT 1 FROM tasks WHERE user_id = %(user_id)s AND id = %(id)s"

_LOCK = """
SELECT free, set_config('app.proceed', CASE WHEN free THEN 'yes' ELSE 'no' END, true)
FROM pg_try_advisory_xact_lock(
    hashtextextended(jsonb_build_array(%(user_id)s::text, %(scope)s::text, %(key)s::text)::text, 0)
) AS free
"""

_RECALL = f"""
SELECT known.fingerprint, known.outcome,
       to_jsonb(task) || coalesce(replaced.texts, '{{}}') || known.outcome AS task,
       set_config('app.proceed', 'no', true)
FROM idempotency_keys AS known
LEFT JOIN tasks AS task
  ON task.user_id = known.user_id AND task.id = (known.outcome ->> 'id')::uuid
CROSS JOIN LATERAL (
    SELECT jsonb_object_agg(wanted.name, first.text) AS texts
    FROM unnest({_TEXTS}) AS wanted (name)
    CROSS JOIN LATERAL (
        SELECT was.text
        FROM replaced_texts AS was
        WHERE was.user_id = task.user_id AND was.id = task.id AND was.name = wanted.name
          AND was.replaced_at > (known.outcome ->> 'updated_at')::timestamptz
        ORDER BY was.replaced_at
        LIMIT 1
    ) AS first
) AS replaced
WHERE known.user_id = %(user_id)s AND known.scope = %(scope)s AND known.key = %(key)s
  AND known.created_at > now() - interval '24 hours'
"""


# To count thousands of rows for each write would take longer than the write, and a counter that
# every write moves would make one user's writes wait for each other. So a write looks at the last
# count, and the nearer that is to the quota, the likelier the write counts again: with probability
# 256 / (quota - last count). The chance to use up all of that room without counting once is below
# e ^ -256. Within 256 of the quota every write counts, and it misses only the writes that are under
# way at the same moment. A user who was never counted is counted first.
def _quota(what: LiteralString, unless: LiteralString = "false") -> LiteralString:
    return f"""
        SELECT '{what}' AS what, %(max_{what})s::integer AS quota,
               set_config('app.proceed', 'no', true)
        WHERE {PROCEED} AND CASE
            WHEN random() * (%(max_{what})s - (
                SELECT counted FROM usage_counts WHERE user_id = %(user_id)s AND what = '{what}'
            )) >= 256 THEN false
            ELSE NOT has_room('{what}', %(max_{what})s) AND NOT ({unless})
        END
        """


# A create that is sent a second time may have its task already and needs no more room then.
_QUOTA_OF_TASKS = _quota("tasks", unless=f"EXISTS ({_EXISTS})")
_QUOTA_OF_KEYS = _quota("keys")

# EXISTS sees what was there when the statement began: a task that somebody deleted while the
# statement waited for its row is a version that is gone if the client named one, else not found.
_RECORD = f"""
INSERT INTO idempotency_keys AS known (user_id, scope, key, fingerprint, outcome)
SELECT %(user_id)s, %(scope)s, %(key)s, %(fingerprint)s,
       coalesce(
           (SELECT to_jsonb(effect) - {_TEXTS} FROM effect),
           to_jsonb(
               %(versions)s::timestamptz[] IS NOT NULL
               AND EXISTS (SELECT FROM tasks WHERE user_id = %(user_id)s AND id = %(id)s)
           )
       )
WHERE {PROCEED}
ON CONFLICT (user_id, scope, key) DO UPDATE
SET fingerprint = excluded.fingerprint, outcome = excluded.outcome, created_at = now()
WHERE known.created_at <= now() - interval '24 hours'
RETURNING outcome, (SELECT to_jsonb(effect) FROM effect) AS task
"""
