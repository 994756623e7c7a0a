"""A way for containers to a database that listens on this machine alone.

The embedded Postgres has no TCP port and asks for no password. This forwards connections from the
address that containers call, and accepts containers only.

Functions accept a database without TLS on `localhost` only. A container finds this machine under
that name too, after its own loopback, where nothing listens.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlencode, urlsplit

from local.sam.docker import Bridge

_Connect = Callable[[], socket.socket]


@contextlib.contextmanager
def reachable(url: str, bridge: Bridge) -> Iterator[tuple[str, list[str]]]:
    """Yield a connection string by which containers reach the database, and SAM's options for it.

    It is `url` itself when that names another machine.
    """
    connect = connector(url)
    if connect is None:
        yield url, []
        return
    with _Relay(connect, bridge) as relay:
        threading.Thread(target=relay.serve_forever, name="relay", daemon=True).start()
        try:
            port = relay.server_address[1]
            yield _readdressed(url, port), ["--add-host", f"localhost:{bridge.gateway}"]
        finally:
            relay.shutdown()


def connector(url: str) -> _Connect | None:
    """Return what connects to a database on this machine; None for a database elsewhere."""
    parts = urlsplit(url)
    host = unquote(parts.hostname or parse_qs(parts.query).get("host", [""])[0])
    port = parts.port or 5432
    if host.startswith("/"):
        return lambda: _unix(f"{host}/.s.PGSQL.{port}")
    if host in ("localhost", "127.0.0.1", "::1"):
        return lambda: socket.create_connection((host, port))
    return None


def _unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def _readdressed(url: str, port: int) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in ("host", "port")]
    query = urlencode(kept, quote_via=quote)
    return parts._replace(netloc=f"{user}@localhost:{port}", query=query).geturl()


class _Relay(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 100

    def __init__(self, connect: _Connect, bridge: Bridge) -> None:
        self.connect = connect
        self._bridge = bridge
        super().__init__((bridge.address, 0), _Connection)

    def verify_request(self, _: Any, client_address: Any) -> bool:
        """Tell containers from programs of this machine, which call from the bridge's address."""
        client, bridge = client_address[0], self._bridge
        is_forwarded = bridge.gateway != bridge.address  # Docker Desktop
        return ip_address(client) in bridge.clients and (is_forwarded or client != bridge.address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the client sees a closed connection, as from a server that is gone."""


class _Connection(BaseRequestHandler):
    server: _Relay

    def handle(self) -> None:
        with self.server.connect() as database:
            answers = threading.Thread(target=_copy, args=[database, self.request], daemon=True)
            answers.start()
            _copy(self.request, database)
            answers.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until one side ends, then end both."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
