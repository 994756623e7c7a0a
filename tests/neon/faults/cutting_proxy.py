"""A TCP proxy that harms most of its connections once, at a random byte of either direction."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

_LINGER = struct.pack("ii", 1, 0)
_BUFFER_BYTES = 16_384  # small, so that a client cannot hand over a long request and go on


class Harm(Enum):
    """What happens to a connection at its randomly chosen byte."""

    FIN = "connection cut with FIN"
    RESET = "connection cut with RST"
    SILENCE = "nothing more passes, then a cut"
    LATE = "the rest passes late"


_WEIGHTS = {Harm.FIN: 5, Harm.RESET: 5, Harm.LATE: 3, Harm.SILENCE: 2}


@dataclass
class _Link:
    """One connection: its two sockets, and the harm that will happen to it."""

    client: socket.socket
    server: socket.socket
    harm: Harm | None
    is_upstream: bool
    bytes_left: int
    silent: bool = False

    def cut(self, *, reset: bool = False) -> None:
        """Close both sides."""
        for side in (self.client, self.server):
            with suppress(OSError):
                if reset:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
                side.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)


class CuttingProxy:
    """A proxy in front of the port `target` until the `with` block ends; it counts what it does."""

    def __init__(self, target: int, chance: random.Random, count: Counter[str]) -> None:
        self._target = target
        self._chance = chance
        self._count = count
        self._is_calm = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop.call_soon_threadsafe(self._spawn, self._accept())
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._listener.close()

    def calm(self) -> None:
        """Do no more harm from now on."""
        self._is_calm = True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> None:
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            self._spawn(self._relay(client))

    async def _relay(self, client: socket.socket) -> None:
        with client, socket.socket() as server:
            for side in (client, server):
                side.setblocking(False)
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):
                await self._loop.sock_connect(server, ("127.0.0.1", self._target))
                link = self._link(client, server)
                await asyncio.gather(self._pump(link, True), self._pump(link, False))

    def _link(self, client: socket.socket, server: socket.socket) -> _Link:
        """Choose harm and byte: an early byte is part of the login, a later one of any work."""
        chance = self._chance
        harm = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        is_early, is_upstream = chance.random() < 0.1, chance.random() < 0.5
        typical = 200 if is_early else 6000 if is_upstream else 2500
        start = 0 if is_early else 700
        bytes_left = start + int(chance.expovariate(1 / typical))
        return _Link(client, server, harm, is_upstream, bytes_left)

    async def _pump(self, link: _Link, is_upstream: bool) -> None:
        source, sink = link.client, link.server
        if not is_upstream:
            source, sink = sink, source
        try:
            while data := await self._loop.sock_recv(source, 65536):
                data = await self._harmed(link, data, sink, is_upstream)
                await self._loop.sock_sendall(sink, data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            link.cut()

    async def _harmed(
        self, link: _Link, data: bytes, sink: socket.socket, is_upstream: bool
    ) -> bytes:
        """Harm the connection if its byte is in this data, and return what is still to be sent."""
        while link.silent:
            await asyncio.sleep(0.1)
        if link.harm is None or self._is_calm or is_upstream is not link.is_upstream:
            return data
        position, link.bytes_left = link.bytes_left, link.bytes_left - len(data)
        if link.bytes_left > 0:
            return data
        harm, link.harm = link.harm, None
        self._count[harm.value] += 1
        await self._loop.sock_sendall(sink, data[:position])
        if harm is Harm.LATE:
            await asyncio.sleep(self._chance.uniform(0.1, 2.5))
            return data[position:]
        if harm is Harm.SILENCE:
            link.silent = True
            await asyncio.sleep(self._chance.uniform(1.0, 5.0))
            link.silent = False
        link.cut(reset=harm is Harm.RESET)
        raise ConnectionAbortedError
