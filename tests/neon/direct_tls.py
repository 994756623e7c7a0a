"""TLS without Postgres's request for it, as Neon's proxy takes it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any


@contextmanager
def direct_tls(target: int, certificate: Path, key: Path) -> Iterator[int]:
    """Take TLS connections, and pass what they say to a port on loopback; yield the own port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["postgresql"])

    class Server(ThreadingTCPServer):
        def finish_request(self, request: Any, _: Any) -> None:
            with suppress(OSError), context.wrap_socket(request, server_side=True) as client:
                _relay(client, target)

    with Server(("127.0.0.1", 0), BaseRequestHandler) as server:
        accepting = Thread(target=server.serve_forever)
        accepting.start()
        yield server.server_address[1]
        server.shutdown()
        accepting.join()


def _relay(client: ssl.SSLSocket, target: int) -> None:
    with socket.create_connection(("127.0.0.1", target)) as server:
        responses = Thread(target=_copy, args=(server, client))
        responses.start()
        _copy(client, server)
        responses.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # the other direction has closed it
        while data := source.recv(65536):
            sink.sendall(data)
    for side in (source, sink):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
