"""Statements, what repeating them would do, and how their parameters are bound."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import LiteralString, NamedTuple

import psycopg
from psycopg.abc import Buffer, Transformer
from psycopg.adapt import PyFormat

from neon._errors import StatementError

__all__ = ["Bound", "Effect", "Statement", "bind", "bind_settings"]

_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(s)|(%)|)")


class Statement(NamedTuple):
    """One SQL statement and its bound parameters, `%s` or `%(name)s`; a percent sign is `%%`."""

    sql: LiteralString
    params: Sequence[object] | Mapping[str, object] = ()


class Effect(Enum):
    """What sending a unit of work a second time would do.

    READ: nothing, it changes nothing. REPEATABLE: it leaves the same state and an answer as good,
    when it had been done already and when the first one is still being done (`ON CONFLICT DO
    NOTHING`, `SET done = true`; not `SET n = n + 1`, not `WHERE NOT EXISTS`, and not an update
    that must not undo what another client wrote in between). ONCE: it would happen twice.
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


class _Compiled(NamedTuple):
    text: bytes
    names: tuple[str, ...]
    formats: list[PyFormat]


def bind(statement: Statement, transformer: Transformer) -> Bound:
    """The statement with its parameters as bytes. Raises StatementError, without their values."""
    text, names, formats = _compiled(statement.sql)
    try:
        values = _in_order(statement.params, names)
        if len(values) != len(formats):
            raise StatementError(f"{len(formats)} parameters are needed, {len(values)} given")
        if not values:
            return Bound(text)
        dumped = transformer.dump_sequence(values, formats)
    except (psycopg.Error, ValueError, KeyError, OverflowError) as error:
        # From None: psycopg's own text, in a logged traceback, could hold the value.
        raise StatementError(f"a parameter cannot be bound ({type(error).__name__})") from None
    return Bound(text, dumped, tuple(transformer.types or ()), transformer.formats)


def bind_settings(settings: Mapping[str, str]) -> Bound:
    """One statement that makes all settings for the transaction that it is sent in."""
    try:
        values = [word.encode() for pair in settings.items() for word in pair]
    except UnicodeEncodeError:
        raise StatementError("a setting is no valid Unicode") from None
    for value in values:
        if b"\0" in value:  # libpq would end the value there
            raise StatementError("a setting cannot hold a NUL")
    return Bound(_set_config(len(settings)), values)


@lru_cache(maxsize=32)
def _set_config(count: int) -> bytes:
    calls = (f"set_config(${n}, ${n + 1}, true)" for n in range(1, 2 * count, 2))
    return f"SELECT {', '.join(calls)}".encode()


def _in_order(
    params: Sequence[object] | Mapping[str, object], names: tuple[str, ...]
) -> Sequence[object]:
    if isinstance(params, Mapping):
        return [params[name] for name in names]
    if names:
        raise StatementError("named parameters need a mapping")
    return params


@lru_cache(maxsize=512)
def _compiled(sql: str) -> _Compiled:
    """The statement with `$1`-style parameters; psycopg's own conversion is not public."""
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
    return _Compiled(text.encode(), tuple(names), [PyFormat.AUTO] * count)
