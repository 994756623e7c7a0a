"""Statements, units of work, and the batch of bound statements that a unit of work becomes."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import LiteralString, NamedTuple

import psycopg
from psycopg.abc import Buffer, Transformer
from psycopg.adapt import PyFormat

from neon._errors import StatementError

# The position of the guard in the first batch of a session: after the survey and the settings.
GUARD_POSITION = 2
# The protocol counts them in 16 bits.
_MOST_PARAMETERS = 65_535
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(s)|(%)|)")
_SETTING = re.compile(r"[A-Za-z_][\w.$]*")
# Statements that end the transaction before its time, leave it open, or never end.
_REFUSED = re.compile(
    r"(ABORT|BEGIN|COMMIT|COPY|END|PREPARE\s+TRANSACTION|RELEASE|ROLLBACK|SAVEPOINT|START)\b",
    re.IGNORECASE,
)
_SKIPPED = re.compile(r"[\s;]+|--[^\n\r]*")
_COMMENT_PART = re.compile(r"/\*|\*/")
# Settings of a session that change how values are read or written, or which rows are seen, each
# with the values that are fine. The first unit of work on a connection makes them all and reads
# what they were; the ones after it make those that differ, for each takes 3 microseconds.
PINNED = {
    "DateStyle": ("ISO, MDY",),
    "IntervalStyle": ("postgres",),
    "TimeZone": ("UTC", "Etc/UTC", "GMT", "Etc/GMT"),
    "extra_float_digits": ("1", "2", "3"),
    "bytea_output": ("hex",),
    "standard_conforming_strings": ("on",),
    "array_nulls": ("on",),
    "transform_null_equals": ("off",),
    "row_security": ("on",),
    # Postgres starts the timer with the session's own value and ignores a later change, but not
    # one to 0.
    "transaction_timeout": ("0",),
}
# The server looks every second whether its client is still there.
_CHECK = "set_config('client_connection_check_interval', '1000', true)"
_CHECK_VERSION, _TRANSACTION_TIMEOUT_VERSION = 150000, 170000
_READ_ONLY = "set_config('transaction_read_only', 'on', true)"


class Statement(NamedTuple):
    """One SQL statement and its bound parameters, `%s` or `%(name)s`; a percent sign is `%%`."""

    sql: LiteralString
    params: Sequence[object] | Mapping[str, object] = ()


class Effect(Enum):
    """What sending a unit of work a second time would do.

    READ: nothing, because it writes nothing; the server refuses its writes. REPEATABLE: it leaves
    the same state and gives an answer that is as good (a write with an idempotency key in the same
    transaction; not `SET n = n + 1`, and nothing that could undo what another client did in
    between, such as an insert of a row that was deleted since). ONCE: it would happen twice.
    """

    READ = "read"
    REPEATABLE = "repeatable"
    ONCE = "once"


class Bound(NamedTuple):
    """A statement as the wire protocol takes it."""

    text: bytes
    values: Sequence[Buffer | None] = ()
    types: tuple[int, ...] = ()
    formats: Sequence[int] | None = None


class Session(NamedTuple):
    """What a batch depends on. The survey is sent once, with the first batch."""

    transformer: Transformer
    version: int
    reading: str  # SQL that makes the settings which are the same for all reads
    writing: str
    survey: Bound | None = None


def new_session(transformer: Transformer, version: int) -> Session:
    """Return a session whose settings are unknown: its first batch makes and reads them all."""
    names = _pinned(version)
    columns = (f"current_setting('{name}') AS \"{name}\"" for name in names)
    survey = Bound(f"SELECT {', '.join(columns)}".encode())
    return _session(transformer, version, names)._replace(survey=survey)


def surveyed(session: Session, found: Mapping[str, str]) -> Session:
    """Return the session after its survey: it makes the pinned settings that are not fine."""
    differing = [name for name, value in found.items() if value not in PINNED[name]]
    return _session(session.transformer, session.version, differing)


def _session(transformer: Transformer, version: int, names: Iterable[str]) -> Session:
    calls = [f"set_config('{name}', '{PINNED[name][0]}', true)" for name in names]
    calls += [_CHECK] if version >= _CHECK_VERSION else []
    return Session(transformer, version, ", ".join([*calls, _READ_ONLY]), ", ".join(calls))


def _pinned(version: int) -> list[str]:
    has_timeout = version >= _TRANSACTION_TIMEOUT_VERSION
    return [name for name in PINNED if has_timeout or name != "transaction_timeout"]


class _Compiled(NamedTuple):
    text: bytes
    names: tuple[str, ...]
    formats: list[PyFormat]


class UnitOfWork:
    """Statements that make one transaction and one round trip, and how they are run.

    All attempts at one that may be sent again take its lock first, a random number, so each one
    waits until the one before has ended. Once a response was lost, the statements find the setting
    `neon.resent` to be `yes`.
    """

    def __init__(
        self,
        statements: Sequence[Statement],
        effect: Effect,
        settings: Mapping[str, str] | None,
        timeout: float | None,
    ) -> None:
        self.statements, self.effect, self.timeout = statements, effect, timeout
        self._settings = settings or {}
        self.is_resent = False
        self._lock = ""
        if effect is Effect.REPEATABLE:
            self._lock = str(int.from_bytes(os.urandom(8), signed=True))

    def batch(
        self, session: Session, guard: Statement | None, seconds: float, spare: float
    ) -> list[Bound]:
        """Return the batch for this session, whose server may work on it for `seconds`.

        After half of the `spare` seconds the client gives up.
        """
        limits = _limits(seconds, spare, session.version)
        if self.is_resent:
            limits["neon.resent"] = "yes"
        constant = session.reading if self.effect is Effect.READ else session.writing
        batch = [session.survey] if session.survey is not None else []
        if guard is None:
            limits.update(self._settings)
        batch.append(_bind_settings(limits, constant, self._lock))
        if guard is not None:
            batch.append(bind(guard, session.transformer))
            batch += [_bind_settings(self._settings)] if self._settings else []
        batch += [bind(each, session.transformer) for each in self.statements]
        return batch


def _limits(seconds: float, spare: float, version: int) -> dict[str, str]:
    """Return the limits by which the server ends a transaction that nobody waits for.

    `transaction_timeout` comes later, because it ends the session, too, and a quarter of the
    spare time before the client's end, so that the client reads why the session ended.
    """
    milliseconds = max(1, int(seconds * 1000))
    limits = {"statement_timeout": str(milliseconds)}
    if version >= _TRANSACTION_TIMEOUT_VERSION:
        limits["transaction_timeout"] = str(milliseconds + 1 + int(spare * 250))
    return limits


def bind(statement: Statement, transformer: Transformer) -> Bound:
    """Return the statement with its parameters as bytes.

    Raise StatementError, without the parameters' values.
    """
    text, names, formats = _compiled(statement.sql)
    if not formats and not statement.params:
        return Bound(text)
    try:
        values = _in_order(statement.params, names)
        if len(values) != len(formats):
            raise StatementError(f"{len(formats)} parameters are needed, {len(values)} given")
        if not values:
            return Bound(text)
        dumped = transformer.dump_sequence(values, formats)
    except (psycopg.Error, ValueError, KeyError, OverflowError, MemoryError) as error:
        # From None: psycopg's own text, in a logged traceback, could hold the value.
        raise StatementError(f"a parameter cannot be bound ({type(error).__name__})") from None
    return Bound(text, dumped, tuple(transformer.types or ()), transformer.formats)


def _bind_settings(settings: Mapping[str, str], constant: str = "", lock: str = "") -> Bound:
    """Return one statement that makes all settings for the transaction that it is sent in.

    `constant` is SQL that makes more of them. With `lock`, a 64-bit number, the statement then
    waits for the transaction that holds this lock, and holds the lock itself until its own
    transaction ends.
    """
    try:
        values = [value.encode() for value in settings.values()]
    except UnicodeEncodeError:
        raise StatementError("a setting is no valid Unicode") from None
    if b"\0" in b"".join(values):  # libpq would end the value there
        raise StatementError("a setting cannot hold a NUL")
    if lock:
        values.append(lock.encode())
    return Bound(_set_config(tuple(settings), constant, bool(lock)), values)


@lru_cache(maxsize=64)
def _set_config(names: tuple[str, ...], constant: str, is_locking: bool) -> bytes:
    for name in names:
        if not _SETTING.fullmatch(name):
            raise StatementError("a setting's name consists of letters, digits, _ and .")
    calls = [f"set_config('{name}', ${n}, true)" for n, name in enumerate(names, 1)]
    if constant:
        calls.insert(0, constant)
    if is_locking:
        calls.append(f"pg_advisory_xact_lock(${len(names) + 1}::bigint)")
    return f"SELECT {', '.join(calls)}".encode()


def _in_order(
    params: Sequence[object] | Mapping[str, object], names: tuple[str, ...]
) -> Sequence[object]:
    if not isinstance(params, tuple | list) and isinstance(params, Mapping):
        return [params[name] for name in names]
    if names:
        raise StatementError("named parameters need a mapping")
    return params


def _start(sql: str) -> int:
    """Return where the statement begins, after blanks, semicolons and (nested) comments."""
    position = 0
    while True:
        if skipped := _SKIPPED.match(sql, position):
            position = skipped.end()
        elif sql.startswith("/*", position):
            depth = 0
            for part in _COMMENT_PART.finditer(sql, position):
                depth += 1 if part[0] == "/*" else -1
                if depth == 0:
                    break
            position = part.end()
        else:
            return position


@lru_cache(maxsize=512)
def _compiled(sql: str) -> _Compiled:
    """Return the statement with `$1`-style parameters; psycopg's own conversion is not public."""
    if refused := _REFUSED.match(sql, _start(sql)):
        raise StatementError(f"a unit of work cannot hold {refused[1].upper()}")
    names: list[str] = []
    count = 0

    def numbered(found: re.Match[str]) -> str:
        nonlocal count
        name, positional, percent = found.groups()
        if percent:
            return "%"
        if not name and not positional:
            raise StatementError("a percent sign in a statement is written %%")
        if name in names:
            return f"${names.index(name) + 1}"
        count += 1
        if name:
            names.append(name)
        return f"${count}"

    text = _PLACEHOLDER.sub(numbered, sql)
    if names and count != len(names):
        raise StatementError("named and positional parameters cannot be mixed")
    if count > _MOST_PARAMETERS:
        raise StatementError(f"a statement has at most {_MOST_PARAMETERS} parameters, not {count}")
    return _Compiled(text.encode(), tuple(names), [PyFormat.AUTO] * count)
