"""One TCP proxy for tests and benchmark: it delays, counts round trips, holds, cuts and refuses.

It runs in a thread with an event loop of its own. Data arrives `latency` seconds after it was sent.
The first bytes of a client take two latencies longer, because TCP's handshake, which loopback does
at once, would have taken that. A round trip is counted when a client speaks after it was spoken to.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self

_RESET = struct.pack("ii", 1, 0)
_READY_FOR_QUERY = b"Z\0\0\0\5I"
_LATE_SECONDS = 0.0001  # that the event loop's timer is late


class Fault(Enum):
    """What happens to the next request of a client."""

    CUT_BEFORE = "nothing of the request arrives"
    CUT_REQUEST = "a part of the request arrives"
    CUT_SENT = "all of the request arrives, and the client is cut off at once"
    CUT_ANSWERED = "the response was sent, and nothing of it arrives"
    CUT_ANSWER = "a part of the response arrives"
    BLACK_HOLE = "the request vanishes, and nothing else happens"


class How(Enum):
    """How a connection is harmed."""

    FIN = "connection cut with FIN"
    RESET = "connection cut with RST"
    SILENCE = "nothing more passes, then a cut"
    LATE = "the rest passes late"


@dataclass(frozen=True)
class Harm:
    """A harm that a connection meets once, after so many bytes of one direction.

    A float is a part of the next data. `seconds` is the time of a silence or a delay.
    """

    how: How
    is_upstream: bool
    after: int | float
    seconds: float = math.inf


@dataclass
class Connection:
    """One client's connection, and its state."""

    client: socket.socket
    server: socket.socket
    harm: Harm | None
    passed: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    round_trips: int = 1  # TCP's handshake
    client_spoke_last: bool = False
    is_server_gone: bool = False
    running: bool = True
    last: bytes = b""
    may_pass: asyncio.Event = field(default_factory=asyncio.Event)
    pumps: list[asyncio.Task[None]] = field(default_factory=list)

    def cut(self, *, reset: bool = False) -> None:
        """End both sides, with a FIN or with a reset; they are closed once the pumps have ended."""
        self.running = False
        for pump in self.pumps:
            pump.cancel()
        for side in (self.client, self.server):
            with suppress(OSError):  # the other end has closed it
                if reset:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                else:
                    side.shutdown(socket.SHUT_RDWR)


class Proxy:
    """A proxy in front of `target`, a port on loopback, until the `with` block ends.

    `harm` returns the harm of each new connection, or None. `buffer_bytes` bounds the data that a
    client can send ahead of the server's reading.
    """

    def __init__(
        self,
        target: int,
        *,
        latency: float = 0.0,
        buffer_bytes: int = 0,
        harm: Callable[[], Harm | None] = lambda: None,
    ) -> None:
        self.target = target
        self.latency = latency
        self.harm = harm
        self.drops_fin = False
        self.drops_last_words = False
        self.refusals: list[bytes] = []
        self.accepted = 0
        self.connections: list[Connection] = []
        self.faulted = threading.Event()
        self.harms: Counter[How] = Counter()
        self.before_connecting: Callable[[], object] | None = None
        self._armed: Harm | None = None
        self._unheld: float = math.inf  # bytes of clients that may still be read
        self._released = asyncio.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        if buffer_bytes:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.port: int = self._listener.getsockname()[1]
        # Unlike epoll, select waits for less than a millisecond too.
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop.call_soon_threadsafe(self._spawn, self._accept())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_for(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._listener.close()

    @property
    def round_trips(self) -> int:
        """Return the round trips of all connections so far, TCP's handshakes included."""
        return sum(each.round_trips for each in self.connections)

    @property
    def last_words(self) -> list[bytes]:
        """Return the last message of each client."""
        return [each.last for each in self.connections]

    @property
    def is_held(self) -> bool:
        """Tell whether clients are not read."""
        return self._unheld < math.inf

    def arm(self, fault: Fault, position: float = 0.5, *, reset: bool = False) -> None:
        """Make the fault happen to the next request, after this part of its length."""
        self.faulted.clear()
        how = How.RESET if reset else How.FIN
        self._armed = {
            Fault.CUT_BEFORE: Harm(how, True, 0.0),
            Fault.CUT_REQUEST: Harm(how, True, min(position, 0.999)),
            Fault.CUT_SENT: Harm(How.FIN, True, math.inf),  # a reset would take the request back
            Fault.CUT_ANSWERED: Harm(how, False, 0.0),
            Fault.CUT_ANSWER: Harm(how, False, position),
            Fault.BLACK_HOLE: Harm(How.SILENCE, True, 0.0),
        }[fault]

    def refuse(self, *texts: str, severity: str = "ERROR", sqlstate: str = "XX000") -> None:
        """Answer each of the next connects with one of these errors, as Neon's proxy does."""
        self.refusals = [error_response(text, severity, sqlstate) for text in texts]

    def calm(self) -> None:
        """Do no harm from now on, to no connection."""
        self.harm = lambda: None
        for each in self.connections:
            each.harm = None

    def hold(self, after: int = 1) -> None:
        """Read nothing more from clients once at least so many bytes have come."""
        self._released.clear()
        self._unheld = after

    def release(self) -> None:
        """Read from clients again."""
        self._unheld = math.inf
        self._loop.call_soon_threadsafe(self._released.set)

    def cut_all(self) -> None:
        """Cut every open connection."""
        self._wait_for(self._cut_all())

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _cut_all(self) -> None:
        for each in self.connections:
            each.cut()

    async def _end(self) -> None:
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            self.accepted += 1
            self._spawn(self._refuse(client) if self.refusals else self._relay(client))

    async def _refuse(self, client: socket.socket) -> None:
        answer = self.refusals.pop(0)
        with client, suppress(OSError):
            if await self._loop.sock_recv(client, 65536):
                await self._loop.sock_sendall(client, answer)
                client.shutdown(socket.SHUT_WR)
                await self._loop.sock_recv(client, 65536)

    async def _relay(self, client: socket.socket) -> None:
        with client, socket.socket() as server, suppress(OSError):
            if self.before_connecting:
                await asyncio.to_thread(self.before_connecting)
            for side in (client, server):
                side.setblocking(False)
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(server, ("127.0.0.1", self.target))
            connection = Connection(client, server, self.harm())
            connection.may_pass.set()
            self.connections.append(connection)
            for is_upstream in (True, False):
                connection.pumps += self._pump(connection, is_upstream)
            await asyncio.gather(*connection.pumps, return_exceptions=True)

    def _pump(self, connection: Connection, is_upstream: bool) -> list[asyncio.Task[None]]:
        """Start the reader of one direction, and the task that delivers its data when it is due."""
        # Without latency no more than one piece is read ahead of the other side.
        on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(0 if self.latency else 1)
        return [
            self._spawn(self._read(connection, is_upstream, on_its_way)),
            self._spawn(self._deliver(connection, is_upstream, on_its_way)),
        ]

    async def _read(
        self,
        connection: Connection,
        is_upstream: bool,
        on_its_way: asyncio.Queue[tuple[float, bytes]],
    ) -> None:
        source = connection.client if is_upstream else connection.server
        latencies, data = 3 if is_upstream else 1, b"something"
        while data:
            if is_upstream and self._unheld <= 0:
                await self._released.wait()
            try:
                data = await self._loop.sock_recv(source, 65536)
            except OSError:
                data = b""
            due = self._loop.time() + latencies * self.latency - _LATE_SECONDS
            latencies = 1
            if is_upstream:
                self._unheld -= len(data)
            await on_its_way.put((due, data))

    async def _deliver(
        self,
        connection: Connection,
        is_upstream: bool,
        on_its_way: asyncio.Queue[tuple[float, bytes]],
    ) -> None:
        sink = connection.server if is_upstream else connection.client
        while True:
            due, data = await on_its_way.get()
            if (wait := due - self._loop.time()) > 0:
                await asyncio.sleep(wait)
            await connection.may_pass.wait()
            if not data:
                return self._ended(connection, is_upstream)
            if is_upstream:
                self._heard(connection, data)
                if connection.is_server_gone:
                    return connection.cut(reset=True)
            elif self.drops_last_words:
                continue
            data = await self._harmed(connection, data, is_upstream)
            connection.client_spoke_last = is_upstream
            with suppress(OSError):  # its end shows in the other direction
                await self._loop.sock_sendall(sink, data)

    def _ended(self, connection: Connection, is_upstream: bool) -> None:
        if self.drops_fin and not is_upstream:
            connection.is_server_gone = True
        else:
            connection.cut()

    def _heard(self, connection: Connection, data: bytes) -> None:
        connection.last = data
        connection.round_trips += not connection.client_spoke_last
        if self._armed:
            connection.harm, self._armed = self._armed, None
            connection.passed = {True: 0, False: 0}

    async def _harmed(self, connection: Connection, data: bytes, is_upstream: bool) -> bytes:
        """Harm the connection if it is time, and return the data that is still to be sent."""
        harm = connection.harm
        if harm is None or harm.is_upstream is not is_upstream:
            return data
        start = harm.after - connection.passed[is_upstream]
        if isinstance(harm.after, float):
            start = min(len(data), harm.after * len(data))
        connection.passed[is_upstream] += len(data)
        if start > len(data):
            return data
        connection.harm = None
        self.harms[harm.how] += 1
        sink = connection.server if is_upstream else connection.client
        with suppress(OSError):
            part = data[: int(start)]
            await self._loop.sock_sendall(
                sink, part if is_upstream else part.removesuffix(_READY_FOR_QUERY)
            )
        self.faulted.set()
        if harm.how is How.LATE:
            await asyncio.sleep(harm.seconds)
            return data[int(start) :]
        if harm.how is How.SILENCE:
            connection.may_pass.clear()
            await asyncio.sleep(harm.seconds)
        connection.cut(reset=harm.how is How.RESET)
        raise asyncio.CancelledError


def error_response(text: str, severity: str, sqlstate: str) -> bytes:
    """Return an ErrorResponse message of Postgres's protocol."""
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": text}
    body = b"".join(f"{key}{value}".encode() + b"\0" for key, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body
