"""The template and the schema as they are now: read and applied again after an edit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from local.errors import LocalError
from local.runtime import Fingerprint, Runtime, fingerprint_of
from local.template import Template, read_template

_Signature = tuple[int, int, int]


class LiveTemplate:
    """Gives the current template, and tells the runtime when it is another one.

    A template that cannot be read, or whose dependencies cannot be installed, changes nothing:
    the last good one stays in use and `complain` gets one sentence.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        runtime: Runtime,
        *,
        complain: Callable[[str], None],
    ) -> None:
        self._path = path
        self._environ = environ
        self._runtime = runtime
        self._complain = complain
        self._changing = asyncio.Lock()
        self._signature: _Signature | None = None
        self._template = Template({})

    async def load(self) -> Template:
        """Read the template for the first time; raises LocalError."""
        signature = _signature(self._path)
        template = await asyncio.to_thread(read_template, self._path, self._environ)
        await self._runtime.use(template.functions)
        self._signature, self._template = signature, template
        return template

    async def current(self) -> Template:
        """Return the template to use for the next request."""
        if _signature(self._path) != self._signature:
            async with self._changing:
                await self._reload()
        return self._template

    async def _reload(self) -> None:
        signature = _signature(self._path)
        if signature == self._signature:
            return  # another request was faster
        try:
            await self.load()
        except (LocalError, OSError) as error:
            self._signature = signature
            self._complain(f"{error} The previous template stays in use.")


class LiveSchema:
    """Applies the schema again once a file in the folder of the migrations has changed.

    When that fails, `complain` gets one sentence, and requests go on with the schema as it is.
    """

    def __init__(
        self,
        folder: Path,
        apply: Callable[[], Awaitable[object]],
        *,
        complain: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._apply = apply
        self._complain = complain
        self._changing = asyncio.Lock()
        self._applied: Fingerprint = ()

    async def load(self) -> Any:
        """Apply the schema for the first time and return what was done; raises LocalError."""
        self._applied = fingerprint_of(self._folder)
        return await self._apply()

    async def follow(self) -> None:
        """Apply the schema if it has changed, before the next request is answered."""
        if fingerprint_of(self._folder) == self._applied:
            return
        async with self._changing:
            found = fingerprint_of(self._folder)
            if found == self._applied:
                return  # another request was faster
            try:
                await self._apply()
            except LocalError as error:
                self._complain(str(error))
            self._applied = found


def _signature(path: Path) -> _Signature | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
