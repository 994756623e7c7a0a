"""The settings of tasks, each declared once and read from the environment once.

A setting `max_tasks_per_user` is the variable MAX_TASKS_PER_USER of the functions and, unless the
template computes it, the template's parameter MaxTasksPerUser with this default, these bounds and
this sentence. tests/test_settings.py compares them, and the table in docs/deploying.md.
"""

import math
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple

from neon import ConfigurationError
from tasks.orders import Sort


class Between(NamedTuple):
    """The bounds of a number, both included."""

    least: float
    most: float


_COUNTED = Between(1, 2**31 - 1)  # what Postgres' integer holds


class Settings(NamedTuple):
    """What an operator may set. A variable that is absent or empty has the default."""

    default_sort: Annotated[Sort, "The order of a list whose request names none."] = Sort.CREATED
    list_timeout: Annotated[
        float,
        "Seconds that a list may take; the database then stops it and the response is 503.",
        Between(0.1, 10),
    ] = 3
    max_tasks_per_user: Annotated[
        int, "Tasks that one user may have; beyond them a write is refused with 403.", _COUNTED
    ] = 10_000
    max_keys_per_user: Annotated[
        int,
        "Idempotency keys of the last 24 hours that one user may have; beyond them a write with a"
        " key is refused with 403.",
        _COUNTED,
    ] = 1000
    max_lists_per_user: Annotated[
        int,
        "Lists that one user may have at work in the database at once; beyond them the response is"
        " 429.",
        Between(1, 100),
    ] = 4
    allow_owner_login: Annotated[
        bool,
        "For development: lets the API connect as a role that row-level security does not bind.",
    ] = False


@cache
def settings() -> Settings:
    """Return the environment's settings, read once. Raise neon.ConfigurationError."""
    return read(os.environ)


def read(environment: Mapping[str, str]) -> Settings:
    """Return the settings in `environment`.

    Raise neon.ConfigurationError with one sentence that names the variable.

    >>> read({"MAX_TASKS_PER_USER": "5"}).max_tasks_per_user
    5
    """
    given = {name: environment.get(name.upper()) for name in Settings._fields}
    return Settings(**{name: _value(name, text) for name, text in given.items() if text})


def _value(name: str, text: str) -> Any:
    hint = Settings.__annotations__[name]
    _sentence, *bounds = hint.__metadata__
    return _READERS[hint.__origin__](name.upper(), text, *bounds)


def _seconds(variable: str, text: str, bounds: Between) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not bounds.least <= seconds <= bounds.most:
        least, most = bounds
        raise ConfigurationError(f"{variable} has to be a number of seconds from {least} to {most}")
    return seconds


def _count(variable: str, text: str, bounds: Between) -> int:
    least, most = bounds
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ConfigurationError(f"{variable} has to be a whole number from {least} to {most}")
    return int(text)


def _sort(variable: str, text: str) -> Sort:
    try:
        return Sort(text)
    except ValueError:
        raise ConfigurationError(f"{variable} has to be one of: {', '.join(Sort)}") from None


def _flag(variable: str, text: str) -> bool:
    if text not in ("0", "1", "false", "true"):
        raise ConfigurationError(f"{variable} has to be 1 or true, 0 or false")
    return text in ("1", "true")


_READERS: dict[type, Callable[..., Any]] = {float: _seconds, int: _count, Sort: _sort, bool: _flag}
