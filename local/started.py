"""Which API runs on this checkout's behalf, and with which secret: for `make token`.

A started API writes that into a file of its user alone, and holds a lock on the file as long as it
runs: the file of one that was killed is recognised by the missing lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from local.settings import Settings

_TOLD = ("JWT_SECRET", "JWT_ISSUER", "JWT_AUDIENCE")


@contextlib.contextmanager
def announced(settings: Settings, port: int) -> Iterator[None]:
    """Tell `make token` of this API until the end of the block."""
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    path = folder / f"{port}.json"
    told = {name: settings.environ[name] for name in _TOLD if name in settings.environ}
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(told, file)
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def started(settings: Settings) -> Mapping[str, str]:
    """Return the settings of the API that was started last; {} when none runs.

    PORT, where it is given, chooses among several.
    """
    chosen = f"{settings.port}.json" if "PORT" in settings.environ else "*.json"
    for path in sorted(_folder(settings).glob(chosen), key=_modified, reverse=True):
        with contextlib.suppress(OSError, ValueError), path.open() as file:
            if _is_locked(file.fileno()):
                told: Mapping[str, str] = json.load(file)
                return told
    return {}


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # it has ended meanwhile


def _folder(settings: Settings) -> Path:
    return settings.state / "running"
