"""A relay through which containers reach a database that listens on this machine only.

The embedded Postgres has no TCP port and asks for no password. This forwards connections from the
address that containers call, and accepts containers only.

Functions accept a database without TLS on `localhost` only. A container finds this machine under
that name too, after its own loopback, where nothing listens.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any
from urllib.parse import quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from local.sam.docker import DESKTOP

ADD_HOST = ("--add-host", "localhost:host-gateway")


@contextlib.contextmanager
def reachable(url: str, bridge: IPv4Interface) -> Iterator[str]:
    """Yield a connection string by which containers reach the database; needs ADD_HOST.

    It is `url` itself when that names another machine.
    """
    try:
        parameters = conninfo_to_dict(url)
        host, port = str(parameters.get("host") or ""), int(parameters.get("port") or 5432)
    except (ProgrammingError, ValueError):  # the functions say what is wrong with it
        host = ""
    if not (host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")):
        yield url
        return
    with _Relay(host, port, bridge) as relay:
        Thread(target=relay.serve_forever, name="relay", daemon=True).start()
        here = {**parameters, "host": "localhost", "port": relay.server_address[1]}
        try:
            yield f"postgresql://?{urlencode(here, quote_via=quote)}"
        finally:
            relay.shutdown()


class _Relay(ThreadingTCPServer):
    """Forwards each connection of a container to the database."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 100

    def __init__(self, host: str, port: int, bridge: IPv4Interface) -> None:
        self._database = (host, port)
        self._bridge = bridge
        super().__init__((str(bridge.ip), 0), BaseRequestHandler)

    def verify_request(self, _: Any, client_address: Any) -> bool:
        """Accept containers only. Programs of this machine call from the bridge's own address.

        On Docker Desktop that address is loopback, so everybody on this machine is accepted.
        """
        client, bridge = IPv4Address(client_address[0]), self._bridge
        return client in bridge.network and (client != bridge.ip or bridge == DESKTOP)

    def finish_request(self, request: Any, _: Any) -> None:
        """Forward one connection, in its own thread, until it ends."""
        with self._connect() as database:
            answers = Thread(target=_copy, args=[database, request], daemon=True)
            answers.start()
            _copy(request, database)
            answers.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the client sees a closed connection, as from a server that is gone."""

    def _connect(self) -> socket.socket:
        host, port = self._database
        if not host.startswith("/"):
            return socket.create_connection(self._database)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{host}/.s.PGSQL.{port}")
        return connection


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until one side ends, then end both."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
