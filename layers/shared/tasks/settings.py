"""The settings of tasks, read from the environment once."""

import math
import os
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from neon import ConfigurationError
from tasks.orders import Sort


class Settings(NamedTuple):
    """What an operator may set. A variable that is absent or empty has its default.

    `list_timeout_seconds` (LIST_TIMEOUT_SECONDS, 3): how long the database may work on one page.
    `max_tasks_per_user` (MAX_TASKS_PER_USER, 10000): the most tasks that a user may have.
    `max_keys_per_user` (MAX_KEYS_PER_USER, 10000): the same for idempotency keys of 24 hours.
    `default_sort` (DEFAULT_SORT, created): the order of a list whose request names none.
    `allow_owner_login` (ALLOW_OWNER_LOGIN, false): for development; lets the API connect as a role
    that row-level security does not bind.
    """

    list_timeout_seconds: float
    max_tasks_per_user: int
    max_keys_per_user: int
    default_sort: Sort
    allow_owner_login: bool


@cache
def settings() -> Settings:
    """Return the environment's settings, read once. Raise neon.ConfigurationError."""
    return read(os.environ)


def read(environment: Mapping[str, str]) -> Settings:
    """Return the settings in `environment`.

    Raise neon.ConfigurationError with one sentence that names the variable.
    """
    return Settings(
        _seconds(environment, "LIST_TIMEOUT_SECONDS", "3"),
        _count(environment, "MAX_TASKS_PER_USER", "10000"),
        _count(environment, "MAX_KEYS_PER_USER", "10000"),
        _sort(environment, "DEFAULT_SORT", "created"),
        _flag(environment, "ALLOW_OWNER_LOGIN", "false"),
    )


def _seconds(environment: Mapping[str, str], name: str, default: str) -> float:
    try:
        seconds = float(environment.get(name) or default)
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigurationError(f"{name} has to be a number of seconds above 0")
    return seconds


def _count(environment: Mapping[str, str], name: str, default: str) -> int:
    text = environment.get(name) or default
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST):
        raise ConfigurationError(f"{name} has to be a whole number from 1 to {_MOST}")
    return int(text)


def _sort(environment: Mapping[str, str], name: str, default: str) -> Sort:
    try:
        return Sort(environment.get(name) or default)
    except ValueError:
        choices = ", ".join(Sort)
        raise ConfigurationError(f"{name} has to be one of: {choices}") from None


def _flag(environment: Mapping[str, str], name: str, default: str) -> bool:
    text = environment.get(name) or default
    if text not in ("0", "1", "false", "true"):
        raise ConfigurationError(f"{name} has to be 1 or true, 0 or false")
    return text in ("1", "true")


_MOST = 2**31 - 1  # what Postgres' integer holds
