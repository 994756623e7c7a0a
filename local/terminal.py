"""What the terminal shows, and the log files that have the rest."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from local.template import Route

_SHOWN_LEVELS = ("WARNING", "WARN", "ERROR", "CRITICAL", "FATAL")
_SHOWN_CHARACTERS = 300
_RED, _YELLOW, _GREEN = "31", "33", "32"


class Terminal:
    """Prints for people on stdout, complaints on stderr; colours only where they are seen."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._files: dict[str, TextIO] = {}
        self._is_tty = sys.stdout.isatty()
        logs.mkdir(parents=True, exist_ok=True)
        # What aiohttp has to say about malformed requests is of interest to few.
        server_log = logging.getLogger("aiohttp.server")
        server_log.addHandler(logging.FileHandler(logs / "gateway.log", delay=True))
        server_log.propagate = False

    def say(self, text: str) -> None:
        """Print a line at once, also into a pipe."""
        with contextlib.suppress(BrokenPipeError):  # serving goes on when nobody reads any more
            print(text, flush=True)

    def complain(self, text: str) -> None:
        """Print what went wrong, in one line."""
        with contextlib.suppress(BrokenPipeError):
            print(self._coloured(_printable(text), _RED), file=sys.stderr, flush=True)

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """Print the access line of a request; a query is left out, it may hold secrets."""
        colour = _GREEN if status < 400 else _YELLOW if status < 500 else _RED
        shown = self._coloured(str(status), colour)
        self.say(f"{method} {_printable(path)} {shown} {round(seconds * 1000)} ms")

    def routes(self, routes: Iterable[Route]) -> None:
        """Print a table of the routes."""
        rows = sorted((route.path or "$default", route.method, route.function) for route in routes)
        width = max((len(path) for path, _, _ in rows), default=0)
        for path, method, function in rows:
            self.say(f"  {method:<7} {path:<{width}}  {function}")

    def function_line(self, function: str, line: str) -> None:
        """Keep a line that a function wrote, and show it when it is a warning or an error."""
        if function not in self._files:
            path = self._logs / f"{function}.log"
            self._files[function] = path.open("a", encoding="utf-8", errors="replace", buffering=1)
        self._files[function].write(f"{line}\n")
        if shown := _shown(line):
            self.complain(f"{function}: {shown}")

    def close(self) -> None:
        """Close the log files."""
        for file in self._files.values():
            file.close()

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._is_tty else text


def _shown(line: str) -> str:
    """Return what the terminal shows of a function's line, or "" for nothing.

    What awslambdaric writes about an unhandled exception is left out: it arrives as an error of
    the invocation as well, and is shown once.
    """
    try:
        record: Any = json.loads(line)
    except ValueError:
        return line if line.startswith(("[ERROR]\t", "[WARNING]\t")) else ""
    if not isinstance(record, dict) or str(record.get("level")) not in _SHOWN_LEVELS:
        return ""
    if "errorMessage" in record:
        return ""
    cause = record.get("exception_name")
    return f"{record['level']} {record.get('message')}{f' ({cause})' if cause else ''}"


def _printable(text: str) -> str:
    """Return one line without control characters: what clients send must not steer a terminal."""
    cleaned = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    is_long = len(cleaned) > _SHOWN_CHARACTERS
    return f"{cleaned[:_SHOWN_CHARACTERS]}..." if is_long else cleaned
