"""All functions of a template, each with the execution environments that it needs right now.

As Lambda does it: an idle environment takes the next request; when all are busy another one
starts, up to a limit; beyond it requests wait for a while and are then refused. Functions share
nothing, so a busy one never delays another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.environment import Environment, OnLine
from local.errors import InvocationError, LocalError, ThrottledError
from local.live import Fingerprint, fingerprint_of
from local.packages import Packages
from local.template import Function

_SECONDS_IN_LINE = 10.0
# More starts at a time than processors only make each of them slower.
_STARTS_AT_A_TIME = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Debugged:
    """A function to start under a debugger, and the port on which that waits to be attached."""

    function: str
    port: int


class Runtime:
    """Invokes functions by name; `use()` tells it which there are, and again when they change.

    A function has up to `concurrency` environments, and only one under a debugger.
    """

    def __init__(
        self,
        packages: Packages,
        *,
        concurrency: int,
        on_line: OnLine,
        debugged: Debugged | None = None,
    ) -> None:
        self._packages = packages
        self._concurrency = concurrency
        self._on_line = on_line
        self._debugged = debugged
        self._debugger: list[str] = []
        self._functions: dict[str, tuple[Function, list[Path]]] = {}
        self._pools: dict[str, _Pool] = {}
        self._all: set[Environment] = set()

    async def use(self, functions: Mapping[str, Function]) -> None:
        """Serve these functions from now on; those that did not change keep their environments.

        Raises LocalError when their dependencies cannot be installed; nothing has changed then.
        """
        if self._debugged:
            if self._debugged.function not in functions:
                raise LocalError(
                    f"template.yaml has no function {self._debugged.function} to debug."
                )
            package = await self._packages.install_debugger()
            listen = ["--listen", f"127.0.0.1:{self._debugged.port}"]
            self._debugger = ["-X", "frozen_modules=off", str(package / "debugpy"), *listen]
        self._functions = {
            name: (function, await self._packages.import_path(function))
            for name, function in functions.items()
        }

    async def invoke(self, name: str, payload: bytes) -> bytes:
        """Run one function with one event (JSON) and return its answer's JSON.

        Raises InvocationError: FunctionError, CrashedError, TimedOutError, or ThrottledError.
        """
        limit = 1 if self._is_debugged(name) else self._concurrency
        pool = self._pools.setdefault(name, _Pool(name, limit))
        async with pool.slot():
            environment = self._idle(name, pool) or await self._started(name, pool)
            try:
                return await environment.invoke(payload)
            finally:
                pool.idle.append(environment)

    def fingerprint(self, name: str) -> Fingerprint:
        """Return a value that differs once a source file of this function has changed."""
        if name not in self._functions:
            raise InvocationError(f"{name} is not in template.yaml, or no longer")
        function, _ = self._functions[name]
        return fingerprint_of(*self._packages.watched(function))

    async def close(self) -> None:
        """End all environments and wait until they are gone; requests that wait fail."""
        self._functions = {}
        everything = [*self._all]
        for environment in everything:
            environment.end()
        await asyncio.gather(*(each.life for each in everything), return_exceptions=True)

    def _is_debugged(self, name: str) -> bool:
        return self._debugged is not None and self._debugged.function == name

    def _idle(self, name: str, pool: _Pool) -> Environment | None:
        """Return the idle environment that was used last, after ending those that are too old."""
        version = (self.fingerprint(name), *self._functions[name])
        for each in [each for each in pool.idle if each.is_over or each.version != version]:
            pool.idle.remove(each)
            each.end()
        return pool.idle.pop() if pool.idle else None

    async def _started(self, name: str, pool: _Pool) -> Environment:
        async with pool.starts:
            if environment := self._idle(name, pool):  # another request has finished meanwhile
                return environment
            function, path = self._functions[name]
            environment = Environment(
                function,
                path,
                version=(self.fingerprint(name), function, path),
                debugger=self._debugger if self._is_debugged(name) else (),
                on_line=self._on_line,
            )
            self._all.add(environment)
            environment.life.add_done_callback(lambda _: self._all.discard(environment))
            await environment.start()
            return environment


class _Pool:
    """What the requests of one function share."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._slots = asyncio.Semaphore(limit)
        self.starts = asyncio.Semaphore(_STARTS_AT_A_TIME)
        self.idle: list[Environment] = []

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Take one of the environments that the function may have; requests wait in order."""
        try:
            async with asyncio.timeout(_SECONDS_IN_LINE):
                await self._slots.acquire()
        except TimeoutError:
            raise ThrottledError(
                f"{self._name}: all {self._limit} environments stayed busy for"
                f" {_SECONDS_IN_LINE:g} seconds"
            ) from None
        try:
            yield
        finally:
            self._slots.release()
