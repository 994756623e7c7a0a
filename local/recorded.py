"""The recorded events of the folder events/: whom each is for, what it needs, what it should do.

An event's name begins with its function's name: `create_task_blank_title` is for CreateTask. The
rest of the name says whether the event is meant to fail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from local.errors import LocalError
from local.postgres import Postgres
from local.token import make_token

_MEANT_TO_FAIL = re.compile(r"bad|blank|expired|invalid|malformed|not_|another|unsigned|without")
# A token with this in place of a signature is signed with the secret of the API at hand.
_UNSIGNED_TOKEN = re.compile(r"(?<=Bearer )[\w-]+\.[\w-]+\.signed-by-make-invoke$")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an event led to in a few words, and whether its name says so."""

    text: str
    is_expected: bool


def snake_case(function: str) -> str:
    """Return a function's logical id as its folder and its events are named."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", function).lower()


def events_of(root: Path, functions: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yield every event with its function, in the order of their names."""
    longest_first = sorted(functions, key=len, reverse=True)
    for path in sorted((root / "events").glob("*.json")):
        for function in longest_first:
            if path.stem == snake_case(function) or path.stem.startswith(
                f"{snake_case(function)}_"
            ):
                yield function, path
                break


def find_event(root: Path, functions: Iterable[str], function: str, given: str | None) -> Path:
    """Return the event that was named, or the one that is named after the function.

    Raises LocalError with the functions' or the events' names when there is none.
    """
    functions = sorted(functions)
    if function not in functions:
        raise LocalError(
            f"template.yaml has no function {function}; it has {', '.join(functions)}."
        )
    path = Path(given) if given else root / "events" / f"{snake_case(function)}.json"
    if not path.exists():
        known = [
            path.relative_to(root) for name, path in events_of(root, functions) if name == function
        ]
        listed = ", ".join(map(str, known)) or "none in events/"
        raise LocalError(f"There is no event {path}; {function} has {listed}.")
    return path


def read_event(path: Path) -> Any:
    """Return an event as data; raises LocalError when it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise LocalError(f"{path} is not JSON: {error}.") from None


def signed(event: Any, environ: Mapping[str, str]) -> Any:
    """Return the event with a good token for alice where it has one that waits to be signed."""
    if isinstance(event, dict):
        return {name: signed(value, environ) for name, value in event.items()}
    if isinstance(event, list):
        return [signed(value, environ) for value in event]
    if isinstance(event, str) and _UNSIGNED_TOKEN.search(event):
        return _UNSIGNED_TOKEN.sub(make_token("alice", environ), event)
    return event


def insert_task(event: Any, postgres: Postgres) -> None:
    """Have the task that the event's path names, unless the path is meant to be wrong."""
    path = event.get("pathParameters", {}) if isinstance(event, dict) else {}
    try:
        row = (path["user_id"], UUID(path["task_id"]))
    except (KeyError, ValueError):
        return
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO tasks (user_id, id, title) VALUES (%s, %s, 'Made by make invoke')"
            " ON CONFLICT DO NOTHING",
            row,
        )


def outcome(name: str, answer: Any, *, failed: bool) -> Outcome:
    """Return what an event of this name led to."""
    text = "ok"
    answer = answer if isinstance(answer, dict) else {}
    context = answer.get("context") or {}
    if failed:
        text = str(answer.get("errorMessage") or answer.get("Reason"))
    elif "statusCode" in answer:
        text = str(answer["statusCode"])
        failed = int(answer["statusCode"]) >= 400
    elif "error" in context:
        text, failed = str(context["error"]), True
    return Outcome(" ".join(text.split()), failed is bool(_MEANT_TO_FAIL.search(name)))
