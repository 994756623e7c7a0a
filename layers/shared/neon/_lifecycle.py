"""The end of open connections when a process exits, forks, or becomes a snapshot."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from types import FrameType
from typing import Protocol
from weakref import WeakSet


class Connected(Protocol):
    """An object with an open connection."""

    def close(self) -> None: ...
    def _restored(self) -> None: ...
    def _exiting(self) -> None: ...
    def _forked(self) -> None: ...


_watched: WeakSet[Connected] = WeakSet()


def watch(database: Connected) -> None:
    """Close the database at exit, and let go of its connection in a forked child."""
    _watched.add(database)


def follow_snapshots(database: Connected) -> None:
    """Close before the snapshot, open after the restore.

    https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
    """
    from snapshot_restore_py import (  # type: ignore[import-untyped]
        register_after_restore,
        register_before_snapshot,
    )

    register_before_snapshot(database.close)
    register_after_restore(database._restored)


def exit_on_sigterm() -> None:
    """Make SIGTERM an orderly exit, which closes; Lambda sends it where an extension is there."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def _exit(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _close_all() -> None:
    for database in list(_watched):
        database._exiting()


def _forked() -> None:
    for database in list(_watched):
        database._forked()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forked)
