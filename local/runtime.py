"""All functions of a template, each with the execution environments that it needs right now.

As Lambda does it: an idle environment takes the next request; when all are busy another one
starts, up to a limit; beyond it requests wait for a while and are then refused. Functions share
nothing, so a busy one never delays another.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from local.environment import Deployed, Environment, OnLine
from local.errors import InvocationError, LocalError, ThrottledError
from local.live import fingerprint_of
from local.packages import Packages
from local.settings import Settings
from local.template import Function

_SECONDS_IN_LINE = 10.0
# More starts at a time than processors only make each of them slower.
_STARTS_AT_A_TIME = os.cpu_count() or 1


class Runtime:
    """Invokes functions by name; `use()` tells it which there are, and again when they change."""

    def __init__(
        self, settings: Settings, progress: Callable[[str], None], on_line: OnLine
    ) -> None:
        self._settings = settings
        self._packages = Packages(settings.root, progress)
        self._on_line = on_line
        self._debugger: list[str] = []
        self._functions: dict[str, tuple[Function, list[Path]]] = {}
        self._pools: dict[str, _Pool] = {}
        self._all: set[Environment] = set()

    async def use(self, functions: Mapping[str, Function]) -> None:
        """Serve these functions from now on; those that did not change keep their environments.

        Raises LocalError when their dependencies cannot be installed; nothing has changed then.
        """
        if debugged := self._settings.debug:
            if debugged not in functions:
                raise LocalError(f"template.yaml has no function {debugged} to debug.")
            program = str(await self._packages.install_debugger() / "debugpy")
            address = f"127.0.0.1:{self._settings.debug_port}"
            self._debugger = ["-X", "frozen_modules=off", program, "--listen", address]
        self._functions = {
            name: (function, await self._packages.import_path(function))
            for name, function in functions.items()
        }

    async def invoke(self, name: str, payload: bytes) -> bytes:
        """Run one function with one event (JSON) and return its answer's JSON.

        Raises InvocationError: FunctionError, CrashedError, TimedOutError, or ThrottledError.
        """
        # A debugger listens on one port, so it has one process.
        limit = 1 if name == self._settings.debug else self._settings.concurrency
        pool = self._pools.setdefault(name, _Pool(limit))
        try:
            await asyncio.wait_for(pool.slots.acquire(), _SECONDS_IN_LINE)
        except TimeoutError:
            raise ThrottledError(
                f"{name}: all {limit} environments stayed busy for {_SECONDS_IN_LINE:g} seconds"
            ) from None
        try:
            environment = pool.idle_one(self.deployed(name)) or await self._started(name, pool)
            try:
                return await environment.invoke(payload)
            finally:
                pool.idle.append(environment)
        finally:
            pool.slots.release()

    def deployed(self, name: str) -> Deployed:
        """Return what a function is right now; raises InvocationError when there is none."""
        if name not in self._functions:
            raise InvocationError(f"{name} is not in template.yaml, or no longer")
        function, path = self._functions[name]
        return Deployed(function, path, fingerprint_of(function.code, *function.layers))

    async def close(self) -> None:
        """End all environments and wait until they are gone; requests that wait fail."""
        self._functions = {}
        everything = [*self._all]
        for environment in everything:
            environment.end()
        await asyncio.gather(*(each.life for each in everything), return_exceptions=True)

    async def _started(self, name: str, pool: _Pool) -> Environment:
        async with pool.starts:
            deployed = self.deployed(name)
            if environment := pool.idle_one(deployed):  # another request has finished meanwhile
                return environment
            debugger = self._debugger if name == self._settings.debug else ()
            environment = Environment(deployed, debugger, self._on_line)
            self._all.add(environment)
            environment.life.add_done_callback(lambda _: self._all.discard(environment))
            await environment.start()
            return environment


class _Pool:
    """The environments of one function."""

    def __init__(self, limit: int) -> None:
        self.slots = asyncio.Semaphore(limit)
        self.starts = asyncio.Semaphore(_STARTS_AT_A_TIME)
        self.idle: list[Environment] = []

    def idle_one(self, deployed: Deployed) -> Environment | None:
        """Return an idle environment, the last used; end those that run what was before an edit."""
        for each in [each for each in self.idle if each.is_over or each.deployed != deployed]:
            self.idle.remove(each)
            each.end()
        return self.idle.pop() if self.idle else None
