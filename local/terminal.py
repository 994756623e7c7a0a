"""What the terminal shows, and the log files that have the rest."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from aiohttp.http_exceptions import HttpProcessingError

from local.template import Route

_SHOWN_CHARACTERS = 300
_RED, _YELLOW, _GREEN, _DIM = "31", "33", "32", "2"
_COLOURS = {"DEBUG": _DIM, "WARNING": _YELLOW, "WARN": _YELLOW, "ERROR": _RED, "CRITICAL": _RED}
_REMEMBERED = 1000
_UNHANDLED = "LAMBDA_WARNING: Unhandled exception"


class Terminal:
    """Prints for people on `out`, errors on stderr; colours only where they are seen.

    What functions write is kept in one file each, for this user alone. A `quiet` one prints no
    lines of requests. While `shows_functions` is off, functions' lines go to their files only.
    """

    def __init__(self, logs: Path, out: TextIO = sys.stdout, *, quiet: bool = False) -> None:
        self._logs = logs
        self._out = out
        self._quiet = quiet
        self.shows_functions = True
        self._files: dict[str, TextIO] = {}
        self._actors: dict[str, str] = {}
        logs.mkdir(parents=True, exist_ok=True)
        logs.chmod(0o700)
        server_log = logging.getLogger("aiohttp.server")
        server_log.addHandler(_GatewayErrors(self))
        server_log.propagate = False

    def say(self, text: str) -> None:
        """Print a line at once, also into a pipe."""
        _print(text, self._out)

    def complain(self, text: str) -> None:
        """Print what went wrong: a sentence, and a traceback if there is one."""
        for line in text.splitlines():
            _print(coloured(printable(line), _RED, sys.stderr), sys.stderr)

    def answered(
        self, method: str, path: str, status: int, seconds: float, request_id: str | None
    ) -> None:
        """Print the line of a request, without its query, which may hold secrets.

        It ends with the actor that the function's metrics name, which is a hash of the user's id.
        """
        if self._quiet:
            return
        colour = _GREEN if status < 400 else _YELLOW if status < 500 else _RED
        shown = coloured(str(status), colour, self._out)
        actor = self._actors.pop(request_id or "", "")
        who = f" user {printable(actor)}" if actor else ""
        self.say(f"{method} {printable(path)} {shown} {round(seconds * 1000)} ms{who}")

    def routes(self, routes: Iterable[Route]) -> None:
        """Print a table of the routes."""
        rows = sorted((route.path or "$default", route.method, route.function) for route in routes)
        width = max((len(path) for path, _, _ in rows), default=0)
        for path, method, function in rows:
            self.say(f"  {method:<7} {path:<{width}}  {function}")

    def function_line(self, function: str, line: str) -> None:
        """Keep a line that a function wrote, and show it shortly."""
        if function not in self._files:
            path = self._logs / f"{function}.log"
            self._files[function] = open(  # noqa: SIM115 - closed by close()
                path, "a", encoding="utf-8", errors="replace", buffering=1, opener=_for_this_user
            )
        self._files[function].write(f"{line}\n")
        record = _record(line)
        if "_aws" in record and isinstance(record.get("actor"), str):
            self._remember(str(record.get("function_request_id")), record["actor"])
        # A crash arrives as an error of the invocation as well.
        if self.shows_functions and not _is_crash(line):
            for shown in shown_lines(function, line, self._out):
                self.say(shown)

    def close(self) -> None:
        """Close the log files."""
        for file in self._files.values():
            file.close()

    def _remember(self, request_id: str, actor: str) -> None:
        self._actors[request_id] = actor
        if len(self._actors) > _REMEMBERED:
            del self._actors[next(iter(self._actors))]


class _GatewayErrors(logging.Handler):
    """Shows where the gateway itself failed, without the message, which may hold a header.

    What clients send malformed is left out.
    """

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        kind, error, trace = record.exc_info or (None, None, None)
        if kind is not None and not isinstance(error, HttpProcessingError):
            where = "".join(traceback.format_tb(trace))
            self._terminal.complain(f"The gateway failed: {kind.__name__}\n{where}")


def shown_lines(function: str, line: str, stream: TextIO) -> Iterator[str]:
    """Yield what people see of one entry in a function's log, which is nothing of metrics.

    The entry is a line of the function's own, or JSON of Powertools' Logger or of Lambda's.
    """
    record = _record(line)
    if "_aws" in record:
        return
    prefix = coloured(f"{function}:", _DIM, stream)
    if not {"message", "errorType"} & record.keys():
        for each in line.splitlines():
            yield f"{prefix} {printable(each)}"
        return
    level = str(record.get("level", "INFO"))
    location = f" ({record['location']})" if "location" in record else ""
    text = printable(f"{level} {record.get('message', 'the function failed')}{location}")
    colour = _COLOURS.get(level)
    yield f"{prefix} {coloured(text, colour, stream) if colour else text}"
    for each in _traceback(record).splitlines():
        yield coloured(f"  {printable(each)}", colour or _DIM, stream)


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """Return the text in a colour where the stream is a terminal."""
    return f"\x1b[{colour}m{text}\x1b[0m" if stream.isatty() else text


def printable(text: str) -> str:
    """Return one line without control characters: what clients send must not steer a terminal."""
    cleaned = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    is_long = len(cleaned) > _SHOWN_CHARACTERS
    return f"{cleaned[:_SHOWN_CHARACTERS]}..." if is_long else cleaned


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line) if line.startswith("{") else {}
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _traceback(record: dict[str, Any]) -> str:
    if "errorType" not in record:
        return str(record.get("exception") or "")
    frames = "".join(map(str, record.get("stackTrace", [])))
    return f"{frames}\n{record['errorType']}: {record.get('errorMessage')}".lstrip("\n")


def _is_crash(line: str) -> bool:
    """Tell what awslambdaric writes about an unhandled exception from what the function logs."""
    record = _record(line)
    if record:
        text = str(record.get("message", ""))
        return text.startswith(_UNHANDLED) or (not text and "errorType" in record)
    return "\n" in line or line.startswith(("[ERROR] ", _UNHANDLED))


def _for_this_user(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)  # an earlier version may have made it readable for others
    return descriptor


def _print(text: str, stream: TextIO) -> None:
    with contextlib.suppress(BrokenPipeError):  # serving goes on when nobody reads any more
        print(text, file=stream, flush=True)
