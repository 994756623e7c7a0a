"""Values that are made from files, and made again before the next request after an edit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from local.errors import SENTENCES

Fingerprint = tuple[tuple[str, int, int], ...]

T = TypeVar("T")


class Live(Generic[T]):
    """A value that `make` builds from a file or a folder.

    When that fails after an edit, the last good value stays and `complain` gets one sentence.
    """

    def __init__(
        self, path: Path, make: Callable[[], Awaitable[T]], *, complain: Callable[[str], None]
    ) -> None:
        self._path = path
        self._make = make
        self._complain = complain
        self._changing = asyncio.Lock()
        self._seen: Fingerprint = ()
        self._value: T

    async def load(self) -> T:
        """Make the value; raise LocalError or TemplateError."""
        self._seen = fingerprint_of(self._path)
        self._value = await self._make()
        return self._value

    async def current(self) -> T:
        """Return the value for the next request."""
        async with self._changing:
            if fingerprint_of(self._path) != self._seen:
                try:
                    await self.load()
                except SENTENCES as error:
                    reason = str(error).rstrip(".")
                    self._complain(f"{reason}. What was before the edit stays in use.")
        return self._value


def fingerprint_of(*paths: Path) -> Fingerprint:
    """Return path, modification time (ns) and size of files, and of all files in folders."""
    return tuple(each for path in paths for each in _files(str(path)))


def _files(path: str) -> Iterator[tuple[str, int, int]]:
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            yield path, found.st_mtime_ns, found.st_size
            return
        for name in os.listdir(path):
            if name != "__pycache__":
                yield from _files(f"{path}/{name}")
