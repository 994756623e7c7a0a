"""The lines of functions and requests in the terminal, and the log file with all lines."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from aiohttp.http_exceptions import HttpProcessingError

from deploy.printable import printable
from local.errors import LocalError
from local.settings import Settings, private

_SHOWN_CHARACTERS = 300
RED, YELLOW, GREEN, DIM = "31", "33", "32", "2"
_COLOURS = {"DEBUG": DIM, "WARNING": YELLOW, "WARN": YELLOW, "ERROR": RED, "CRITICAL": RED}
_LAST_LINES = "20"
_UNHANDLED = "LAMBDA_WARNING: Unhandled exception"


class Terminal(contextlib.AbstractContextManager["Terminal"]):
    """Prints for people on `out`, errors on stderr; colours only where they are seen.

    All that functions write is kept in one file, for this user alone. A `quiet` one prints no
    lines of requests. While `shows_functions` is off, functions' lines go to the file only.
    """

    def __init__(
        self, settings: Settings, out: TextIO = sys.stdout, *, quiet: bool = False
    ) -> None:
        self._out = out
        self._quiet = quiet
        self.shows_functions = True
        self._log = open(  # noqa: SIM115 - closed at the end of the block
            _log(settings), "a", encoding="utf-8", errors="replace", buffering=1, opener=private
        )
        logging.getLogger("aiohttp.server").addFilter(self._gateway_failed)

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def say(self, text: str) -> None:
        """Print a line at once, also into a pipe."""
        _print(text, self._out)

    def complain(self, text: str) -> None:
        """Print an error: a sentence, and a traceback if there is one."""
        for line in text.splitlines():
            _print(coloured(shortened(line), RED, sys.stderr), sys.stderr)

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """Print the line of a request, without its query, which may hold secrets."""
        if not self._quiet:
            colour = GREEN if status < 400 else YELLOW if status < 500 else RED
            shown = coloured(str(status), colour, self._out)
            self.say(f"{method} {shortened(path)} {shown} {round(seconds * 1000)} ms")

    def function_line(self, function: str, line: str) -> None:
        """Keep a line that a function wrote, and show it shortly."""
        for each in line.splitlines():
            self._log.write(f"{function}: {each}\n")
        # A crash arrives as an error of the invocation as well.
        if self.shows_functions and not _is_crash(line):
            for shown in shown_lines(function, line, self._out):
                self.say(shown)

    def _gateway_failed(self, record: logging.LogRecord) -> bool:
        """Show the traceback of a failure in the gateway, but no message: it may hold a header.

        Malformed requests are no failures of the gateway.
        """
        kind, error, trace = record.exc_info or (None, None, None)
        if kind is not None and not isinstance(error, HttpProcessingError):
            where = "".join(traceback.format_tb(trace))
            self.complain(f"The gateway failed: {kind.__name__}\n{where}")
        return False


def follow(settings: Settings) -> int:
    """Print the last lines that functions wrote, and then each new line, until interrupted."""
    log = _log(settings)
    if not log.exists():
        raise LocalError("No function has written anything yet: start the API with `make run`.")
    print(f"Following {log} (Ctrl-C ends it) ...", file=sys.stderr, flush=True)
    command = ["tail", "-n", _LAST_LINES, "-F", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as tail:
        try:
            for line in tail.stdout or ():
                function, _, text = line.rstrip("\n").partition(": ")
                for shown in shown_lines(function, text, sys.stdout):
                    print(shown, flush=True)
        finally:
            tail.terminate()
    return 0


def _log(settings: Settings) -> Path:
    return settings.state / "functions.log"


def shown_lines(function: str, line: str, stream: TextIO) -> Iterator[str]:
    """Yield the lines that the terminal shows of one log entry: none for metrics.

    The entry is a line of the function's own, or JSON of Powertools' Logger or of Lambda's.
    """
    record = _record(line)
    if "_aws" in record:
        return
    prefix = coloured(f"{function}:", DIM, stream)
    if not {"message", "errorType"} & record.keys():
        for each in line.splitlines():
            yield f"{prefix} {shortened(each)}"
        return
    level = str(record.get("level", "INFO"))
    location = f" ({record['location']})" if "location" in record else ""
    text = shortened(f"{level} {record.get('message', 'the function failed')}{location}")
    colour = _COLOURS.get(level)
    yield f"{prefix} {coloured(text, colour, stream) if colour else text}"
    for each in _traceback(record).splitlines():
        yield coloured(f"  {shortened(each)}", colour or DIM, stream)


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """Return the text in a colour where the stream is a terminal."""
    return f"\x1b[{colour}m{text}\x1b[0m" if stream.isatty() else text


def shortened(text: str) -> str:
    """Return the beginning of a text of others, in one line."""
    cleaned = printable(text)
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
    """Tell whether awslambdaric wrote this line about an unhandled exception."""
    record = _record(line)
    if record:
        text = str(record.get("message", ""))
        return text.startswith(_UNHANDLED) or (not text and "errorType" in record)
    return "\n" in line or line.startswith("[ERROR] ") or _UNHANDLED in line


def _print(text: str, stream: TextIO) -> None:
    with contextlib.suppress(BrokenPipeError):  # serving goes on when nobody reads any more
        print(text, file=stream, flush=True)
