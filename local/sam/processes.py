"""Child processes that end with this one, however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def start(
    command: Sequence[str | Path], *, ends_by: signal.Signals, **options: Any
) -> subprocess.Popen[str]:
    """Start a program in a session of its own: Ctrl-C reaches it only when we pass it on.

    When this process is killed, the kernel sends `ends_by` to the program (on Linux). The other
    options are those of `subprocess.Popen`.
    """

    def end_with_parent() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, ends_by)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=end_with_parent,
        **options,
    )


def end(process: subprocess.Popen[str], number: signal.Signals, seconds: float = 30.0) -> None:
    """Send a signal and wait; after `seconds` kill the program and all that it started."""
    if process.poll() is not None:
        return
    process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGTERM and a closed terminal end this process as Ctrl-C does: in good order."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
