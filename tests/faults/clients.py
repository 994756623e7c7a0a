"""Clients that write, and record for each write the outcome that they were told."""

from __future__ import annotations

import random
import threading
import uuid
from dataclasses import dataclass
from enum import Enum
from typing import LiteralString

from neon import Database, DatabaseError, Effect, OutcomeUnknownError, Statement, deadline

_KEY_ATTEMPTS = 5


class Kind(Enum):
    """What keeps a write from happening twice."""

    UNKEYED = "unkeyed"  # the client sends it once
    KEYED = "keyed"  # the key is stored with the write, and the client repeats it until it knows
    REPEATABLE = "repeatable"  # the write checks whether its row is already there
    BATCH = "batch"  # several statements behind a key that is stored with them


class Told(Enum):
    """What a client was told about a write in the end."""

    DONE = "done"
    NOTHING = "nothing was done"
    UNKNOWN = "unknown"


_ADD: LiteralString = """
    INSERT INTO fault_writes SELECT %(id)s, length(%(text)s)
    WHERE current_setting('faults.is_new') = 'yes'
"""
_STATEMENTS: dict[Kind, tuple[LiteralString, ...]] = {
    Kind.UNKEYED: ("INSERT INTO fault_writes SELECT %(id)s, length(%(text)s)",),
    Kind.KEYED: (
        """
        WITH key AS (
            INSERT INTO fault_keys VALUES (%(id)s) ON CONFLICT DO NOTHING RETURNING id
        )
        INSERT INTO fault_writes SELECT id, length(%(text)s) FROM key
    """,
    ),
    # No constraint helps here: it is repeatable only if there is one attempt at a time.
    Kind.REPEATABLE: (
        """
        INSERT INTO fault_writes SELECT %(id)s, length(%(text)s)
        WHERE NOT EXISTS (SELECT FROM fault_writes WHERE id = %(id)s)
    """,
    ),
    Kind.BATCH: (
        """
        WITH key AS (
            INSERT INTO fault_keys VALUES (%(id)s) ON CONFLICT DO NOTHING RETURNING id
        )
        SELECT set_config(
            'faults.is_new', CASE WHEN EXISTS (SELECT FROM key) THEN 'yes' ELSE 'no' END, true
        )
    """,
        *(_ADD, _ADD, _ADD),
    ),
}
_ROWS = {kind: 3 if kind is Kind.BATCH else 1 for kind in Kind}
TABLES = (
    "CREATE TABLE fault_keys (id text PRIMARY KEY)",
    "CREATE TABLE fault_writes (id text, length int)",
    "CREATE INDEX ON fault_writes (id)",
    "GRANT ALL ON fault_keys, fault_writes TO PUBLIC",
)


@dataclass
class Write:
    """A write, the outcome that its client was told, and whether it was read."""

    id: str
    kind: Kind
    told: Told = Told.UNKNOWN
    was_read: bool = False

    @property
    def rows(self) -> int:
        """Return how many rows the write inserts."""
        return _ROWS[self.kind]


class Client(threading.Thread):
    """A client that writes over a Database of its own until it is told to stop."""

    def __init__(self, url: str, seed: int, over: threading.Event) -> None:
        super().__init__()
        self.writes: list[Write] = []
        self.missing = 0
        self.failure: BaseException | None = None
        self._chance = random.Random(seed)  # noqa: S311
        self._over = over
        self._database = Database(url)

    def run(self) -> None:
        """Write until it is over, and keep an exception that is not a DatabaseError."""
        try:
            while not self._over.is_set():
                self._write()
        except BaseException as error:
            self.failure = error
        finally:
            self._database.close()

    def _write(self) -> None:
        write = Write(uuid.uuid4().hex, self._chance.choice(list(Kind)))
        self.writes.append(write)
        params = {"id": write.id, "text": self._text()}
        statements = [Statement(sql, params) for sql in _STATEMENTS[write.kind]]
        effect = Effect.ONCE if write.kind is Kind.UNKEYED else Effect.REPEATABLE
        write.told = self._run(statements, effect)
        has_key = write.kind in (Kind.KEYED, Kind.BATCH)
        for _ in range(_KEY_ATTEMPTS if has_key else 0):
            # After an unknown attempt, "nothing was done" is about the new attempt only.
            if write.told is Told.UNKNOWN and self._run(statements, effect) is Told.DONE:
                write.told = Told.DONE
        if write.told is Told.DONE and self._chance.random() < 0.5:
            self._read(write)

    def _run(self, statements: list[Statement], effect: Effect) -> Told:
        try:
            with deadline(self._chance.uniform(0.4, 2.0)):
                self._database.run(*statements, effect=effect)
        except OutcomeUnknownError:
            return Told.UNKNOWN
        except DatabaseError:
            return Told.NOTHING
        return Told.DONE

    def _read(self, write: Write) -> None:
        """Read a write that is done, which has to be there at once."""
        sql: LiteralString = "SELECT count(*) AS n, now() AS at FROM fault_writes WHERE id = %s"
        try:
            with deadline(2.0):
                ((row,),) = self._database.run(Statement(sql, (write.id,)), effect=Effect.READ)
        except DatabaseError:
            return
        write.was_read = row["n"] > 0
        self.missing += not write.was_read

    def _text(self) -> str:
        """Return a text: mostly a short one, sometimes one longer than the kernel's send buffer."""
        draw = self._chance.random()
        if draw < 0.75:
            return "x" * self._chance.randint(1, 200)
        return "x" * (self._chance.randint(44_000, 160_000) if draw < 0.98 else 3_500_000)
