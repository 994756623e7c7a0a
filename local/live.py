"""The template as it is now: read again whenever the file has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from local.errors import LocalError
from local.runtime import Runtime
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
            self._complain(f"{error} The template of before stays in use.")


def _signature(path: Path) -> _Signature | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
