"""A way for containers to a database that listens on this machine alone.

The embedded Postgres has no TCP port and asks for no password. This forwards from the address
that containers call to where the database really listens, and lets nobody in but them.

Functions accept a database without TLS on `localhost` only. So that they run unchanged, a
container finds this machine under that name too, after its own loopback, where nothing listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from ipaddress import ip_address
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlencode, urlsplit

from local.sam.docker import Bridge

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PLACE = {"host", "port"}
_CHUNK_BYTES = 65536

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_Connect = Callable[[], Awaitable[_Streams]]


@contextlib.contextmanager
def reachable(url: str, bridge: Bridge) -> Iterator[tuple[str, list[str]]]:
    """Give a connection string by which containers reach the database of `url`, and SAM's options.

    It is `url` itself when that names another machine.
    """
    connect = _connector(url)
    if connect is None:
        yield url, []
        return
    with _serving(connect, bridge) as port:
        yield _readdressed(url, port), ["--add-host", f"localhost:{bridge.gateway}"]


def is_here(url: str) -> bool:
    """Tell whether a connection string names a database on this machine."""
    return _connector(url) is not None


def _connector(url: str) -> _Connect | None:
    """Return what connects to a database on this machine; None for one elsewhere."""
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", [""])[0]
    port = parts.port or 5432
    if unquote(host).startswith("/"):
        return lambda: asyncio.open_unix_connection(f"{unquote(host)}/.s.PGSQL.{port}")
    if host in _LOOPBACK:
        return lambda: asyncio.open_connection(host, port)
    return None


def _readdressed(url: str, port: int) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in _PLACE]
    query = urlencode(kept, quote_via=quote)
    return parts._replace(netloc=f"{user}@localhost:{port}", query=query).geturl()


@contextlib.contextmanager
def _serving(connect: _Connect, bridge: Bridge) -> Iterator[int]:
    """Forward connections in a thread of its own, on a free port, until the end."""
    loop = asyncio.new_event_loop()
    relay = _Relay(connect, bridge)
    thread = threading.Thread(target=loop.run_forever, name="relay", daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(relay.start(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(relay.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Relay:
    """Accepts connections of containers, and copies both ways until one side is done."""

    def __init__(self, connect: _Connect, bridge: Bridge) -> None:
        self._connect = connect
        self._bridge = bridge
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen on a free port and return it."""
        self._server = await asyncio.start_server(self._accept, self._bridge.address, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening and end all connections."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server:
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_container(writer.get_extra_info("peername")[0]):
            writer.close()
            return
        task = asyncio.ensure_future(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_container(self, client: str) -> bool:
        """Tell containers from programs of this machine, which call from the bridge's address."""
        is_forwarded = self._bridge.gateway != self._bridge.address  # Docker Desktop
        return ip_address(client) in self._bridge.clients and (
            is_forwarded or client != self._bridge.address
        )

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with _closing(writer):
            try:
                database, upstream = await self._connect()
            except OSError:
                return  # the client sees its connection closed, as from a server that is gone
            async with _closing(upstream):
                copying = [_copy(reader, upstream), _copy(database, writer)]
                await _until_the_first_ends([asyncio.ensure_future(each) for each in copying])


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _until_the_first_ends(tasks: list[asyncio.Future[None]]) -> None:
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
