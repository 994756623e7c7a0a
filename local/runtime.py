"""All functions of a template, each with the execution environments that it needs right now.

As Lambda does it: an idle environment takes the next request; when all are busy another one
starts, up to a limit; beyond it requests wait for a while and are then refused. Functions share
nothing, so a busy one never delays another.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from local.environment import Environment, OnLine
from local.errors import InvocationError, ThrottledError
from local.packages import Packages
from local.template import Function

Fingerprint = tuple[tuple[str, int, int], ...]

# Byte code is valid for a source of the same size and second: what Python would write for a file
# that was saved just now could outlive the next edit.
_FRESH_SECONDS = 2.0
# More starts at a time than processors only make each of them slower.
_STARTS_AT_A_TIME = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Limits:
    """How far one function may scale, and how long (in seconds) a request or process may wait."""

    environments: int = 10
    waiting: int = 1000
    wait: float = 10.0
    idle: float = 300.0


class Runtime:
    """Invokes functions by name; `use()` tells it which there are, and again when they change."""

    def __init__(self, packages: Packages, *, limits: Limits, on_line: OnLine) -> None:
        self._packages = packages
        self._limits = limits
        self._on_line = on_line
        self._pools: dict[str, _Pool] = {}
        self._retired: list[_Pool] = []

    async def use(self, functions: Mapping[str, Function]) -> None:
        """Serve these functions from now on; those that did not change keep their environments.

        Raises LocalError when their dependencies cannot be installed; nothing has changed then.
        """
        await self._packages.install(functions.values())
        pools = {}
        for name, function in functions.items():
            old = self._pools.pop(name, None)
            if old and old.function == function:
                pools[name] = old
            else:
                pools[name] = _Pool(function, self._packages, self._limits, self._on_line)
                self._retired += [old] if old else []
        self._retired += self._pools.values()
        self._pools = pools
        for pool in self._retired:
            pool.retire()

    async def invoke(self, name: str, payload: bytes) -> bytes:
        """Run one function with one event (JSON) and return its answer's JSON.

        Raises InvocationError: FunctionError, CrashedError, TimedOutError, or ThrottledError.
        """
        if name not in self._pools:
            raise InvocationError(f"{name} is no longer in template.yaml")
        return await self._pools[name].invoke(payload)

    def fingerprint(self, name: str) -> Fingerprint:
        """Return a value that differs once a source file of this function has changed."""
        return self._pools[name].fingerprint() if name in self._pools else ()

    async def close(self) -> None:
        """End all environments and wait until they are gone."""
        pools = [*self._pools.values(), *self._retired]
        await asyncio.gather(*(pool.close() for pool in pools))


class _Pool:
    """The environments of one function.

    An environment is in `_starting`, in `_idle` (with the timer that will end it), or busy;
    whoever waits takes the first that becomes ready, started for him or freed by another.
    """

    def __init__(
        self, function: Function, packages: Packages, limits: Limits, on_line: OnLine
    ) -> None:
        self._debugger = packages.debugger(function)
        self.function = function
        self._path = packages.import_path(function)
        self._watched = packages.watched(function)
        self._limits = dataclasses.replace(limits, environments=1) if self._debugger else limits
        self._on_line = on_line
        self._all: set[Environment] = set()
        self._starting: set[Environment] = set()
        self._idle: dict[Environment, asyncio.TimerHandle] = {}
        self._waiting: deque[asyncio.Future[Environment]] = deque()
        self._fingerprint = self.fingerprint()
        self._retired = False

    def fingerprint(self) -> Fingerprint:
        """Return path, modification time (ns) and size of every source file."""
        return tuple(file for folder in self._watched for file in fingerprint_of(folder))

    async def invoke(self, payload: bytes) -> bytes:
        """Run the function once, in an environment that has seen all edits made before."""
        self._notice_edits()
        environment = await self._acquire()
        return await environment.invoke(payload)

    def retire(self) -> None:
        """End idle environments now, and busy ones once nobody waits for them any more."""
        self._retired = True
        self._end([*self._idle])

    async def close(self) -> None:
        """End all environments, whatever they do, and wait until they are gone."""
        self._retired = True
        while turn := self._next_turn():
            turn.set_exception(ThrottledError(f"{self.function.name}: the local API is stopping"))
        everything = [*self._all]
        self._end(everything)
        await asyncio.gather(*(environment.ended() for environment in everything))

    def _notice_edits(self) -> None:
        fingerprint = self.fingerprint()
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._end([*self._idle, *self._starting])

    def _end(self, environments: list[Environment]) -> None:
        for environment in environments:
            self._forget(environment)
            environment.end()

    def _end_if_idle(self, environment: Environment) -> None:
        """Keep one for the next request; the others have had nothing to do for long."""
        if environment in self._idle and len(self._idle) > 1:
            self._end([environment])

    def _forget(self, environment: Environment) -> None:
        self._starting.discard(environment)
        timer = self._idle.pop(environment, None)
        if timer:
            timer.cancel()

    async def _acquire(self) -> Environment:
        if self._idle:
            environment = next(reversed(self._idle))  # the last used, so that others can end
            self._forget(environment)
            return environment
        if len(self._waiting) >= self._limits.waiting:
            raise ThrottledError(
                f"{self.function.name}: {len(self._waiting)} requests wait already"
            )
        turn: asyncio.Future[Environment] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._scale()
        try:
            async with asyncio.timeout(self._limits.wait):
                return await turn
        except TimeoutError:
            raise ThrottledError(
                f"{self.function.name}: all {len(self._all)} environments stayed busy"
                f" for {self._limits.wait:g} seconds (limit: {self._limits.environments})"
            ) from None

    def _scale(self) -> None:
        """Start as many environments as requests wait for, within the limits."""
        waiting = sum(not turn.done() for turn in self._waiting)
        while (
            len(self._starting) < min(waiting, _STARTS_AT_A_TIME)
            and len(self._all) < self._limits.environments
        ):
            environment = Environment(
                self.function,
                self._path,
                debugger=self._debugger,
                fingerprint=self._fingerprint,
                write_byte_code=self._is_settled(),
                on_ready=self._ready,
                on_exit=self._ended,
                on_line=self._on_line,
            )
            self._all.add(environment)
            self._starting.add(environment)

    def _is_settled(self) -> bool:
        newest = max((modified for _, modified, _ in self._fingerprint), default=0)
        return bool(self._watched) and time.time() - newest / 1e9 > _FRESH_SECONDS

    def _ready(self, environment: Environment) -> None:
        """Take an environment that waits for its next invocation."""
        self._forget(environment)
        is_current = environment.fingerprint == self._fingerprint
        turn = self._next_turn() if is_current else None
        if turn:
            turn.set_result(environment)
        elif self._retired or not is_current:
            environment.end()
        else:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._limits.idle, self._end_if_idle, environment)
            self._idle[environment] = timer
        self._scale()

    def _ended(self, environment: Environment, failure: InvocationError | None) -> None:
        """Forget an environment; when it could not even start, tell who waited for it."""
        was_starting = environment in self._starting
        self._forget(environment)
        self._all.discard(environment)
        if was_starting and failure:
            self._fail(failure)
        self._scale()

    def _fail(self, failure: InvocationError) -> None:
        """Fail one request; or all that wait, when there is nobody left who could serve them."""
        while turn := self._next_turn():
            turn.set_exception(failure)
            if self._all - self._starting:
                return

    def _next_turn(self) -> asyncio.Future[Environment] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None


T = TypeVar("T")


def detached(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start work that goes on, and may fail unnoticed, when nobody waits for it any more."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def fingerprint_of(folder: Path) -> Fingerprint:
    """Return path, modification time (ns) and size of every source file in a folder."""
    return tuple(_files(folder))


def _files(folder: Path) -> Iterator[tuple[str, int, int]]:
    pending = [str(folder)]
    while pending:
        with contextlib.suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        pending.append(entry.path)
                elif not entry.name.endswith(".pyc"):
                    stat = entry.stat()
                    yield entry.path, stat.st_mtime_ns, stat.st_size
