"""`make logs`: what functions write, as the terminal of `make run` shows it, until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from local.errors import LocalError
from local.terminal import shown_lines

_POLL_SECONDS = 0.2
_LAST_BYTES = 4096


async def follow(logs: Path) -> int:
    """Print the last lines of each log, and then each new line, until cancelled."""
    if not logs.is_dir():
        raise LocalError(f"There are no logs in {logs} yet: start the API with `make run`.")
    print(f"Following {logs}/*.log (Ctrl-C ends it) ...", file=sys.stderr, flush=True)
    read: dict[Path, int] = {}
    for path in logs.glob("*.log"):
        read[path] = _start_of_a_line(path, path.stat().st_size - _LAST_BYTES)
    while True:
        for path in sorted(logs.glob("*.log")):
            read[path] = _show(path, read.get(path, 0))
        await asyncio.sleep(_POLL_SECONDS)


def _start_of_a_line(path: Path, position: int) -> int:
    if position <= 0:
        return 0
    with path.open("rb") as log:
        log.seek(position)
        log.readline()
        return log.tell()


def _show(path: Path, position: int) -> int:
    """Print the complete lines after `position`, and return where they end."""
    if path.stat().st_size < position:
        position = 0  # somebody emptied it
    with path.open("rb") as log:
        log.seek(position)
        while (raw := log.readline()).endswith(b"\n"):
            position = log.tell()
            for line in shown_lines(path.stem, raw.decode(errors="replace").rstrip(), sys.stdout):
                print(line, flush=True)
    return position
