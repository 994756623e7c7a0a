"""A TCP proxy that makes faults: it counts, delays, cuts, swallows, and refuses connects."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Self

_RESET = struct.pack("ii", 1, 0)
_READY_FOR_QUERY = b"Z\0\0\0\5I"


class Fault(Enum):
    """What happens to the next request of a client."""

    CUT_BEFORE = "nothing of the request arrives"
    CUT_REQUEST = "a part of the request arrives"
    CUT_SENT = "all of the request arrives, and the client is cut off at once"
    CUT_ANSWERED = "the answer was given, and nothing of it arrives"
    CUT_ANSWER = "a part of the answer arrives"
    BLACK_HOLE = "the request vanishes, and nothing else happens"


@dataclass
class Connection:
    """One client's connection, and what the proxy has seen of it."""

    client: socket.socket
    server: socket.socket
    round_trips: int = 1  # TCP's handshake
    client_spoke_last: bool = False
    is_hole: bool = False
    is_swallowing: bool = False
    is_server_gone: bool = False
    running: int = 2
    last: bytes = b""
    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: list[threading.Thread] = field(default_factory=list)

    def cut(self, *, reset: bool = False) -> None:
        """Close both sides, with a FIN or with a reset."""
        with self.lock:
            for side in (self.client, self.server) if self.running else ():
                if reset:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                try:
                    # This wakes the threads. The close that follows sends the reset.
                    side.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
                except OSError:
                    continue  # the other end has closed it

    def ended(self) -> None:
        """Note that one direction has ended, and close the sockets after the second one."""
        with self.lock:
            self.running -= 1
            if not self.running:
                self.client.close()
                self.server.close()


class Proxy:
    """A proxy in front of `target`, a port on loopback, until the `with` block ends."""

    def __init__(self, target: int, *, latency: float = 0.0, buffer_bytes: int = 0) -> None:
        self.target = target
        self.latency = latency
        self.drops_fin = False
        self.drops_last_words = False
        self.refusals: list[bytes] = []
        self.accepted = 0
        self.fault: Fault | None = None
        self.position = 0.5  # the part of the message after which a fault cuts it
        self.reset = False
        self.connections: list[Connection] = []
        self.faulted = threading.Event()
        self.before_connecting: Callable[[], object] = lambda: None
        self.reads = threading.Event()  # while it is not set, nothing more is read from clients
        self.reads.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        if buffer_bytes:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.reads.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self.connections:
            connection.cut()
        for connection in self.connections:
            for thread in connection.threads:
                thread.join()

    @property
    def round_trips(self) -> int:
        """Return the round trips of all connections so far, TCP's handshakes included."""
        return sum(each.round_trips for each in self.connections)

    @property
    def last_words(self) -> list[bytes]:
        """Return the last message of each client."""
        return [each.last for each in self.connections]

    def arm(self, fault: Fault, position: float = 0.5, *, reset: bool = False) -> None:
        """Make the fault happen to the next request, after this part of its length."""
        self.position, self.reset = position, reset
        self.faulted.clear()
        self.fault = fault

    def refuse(self, *texts: str, severity: str = "ERROR", sqlstate: str = "XX000") -> None:
        """Answer each of the next connects with one of these errors, as Neon's proxy does."""
        self.refusals = [error_response(text, severity, sqlstate) for text in texts]

    def cut_all(self) -> None:
        """Cut every open connection."""
        for connection in self.connections:
            connection.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.refusals:
                _refuse(client, self.refusals.pop(0))
                continue
            self.before_connecting()
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self._relay(Connection(client, server))

    def _relay(self, connection: Connection) -> None:
        for side in (connection.client, connection.server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.threads = [
            threading.Thread(target=self._run, args=(each, connection), daemon=True)
            for each in (self._upstream, self._downstream)
        ]
        self.connections.append(connection)
        for thread in connection.threads:
            thread.start()

    @staticmethod
    def _run(direction: Callable[[Connection], None], connection: Connection) -> None:
        try:
            direction(connection)
        finally:
            connection.ended()

    def _upstream(self, connection: Connection) -> None:
        while data := self._read(connection.client):
            if not connection.client_spoke_last:
                connection.round_trips += 1
                connection.client_spoke_last = True
            connection.last = data
            time.sleep(self.latency)
            if connection.is_hole:
                continue
            if connection.is_server_gone:
                connection.cut(reset=True)
            elif self.fault is None:
                _sent(connection.server, data)
            else:
                self._meet(connection, data)
        if not connection.is_hole:
            connection.cut()

    def _read(self, client: socket.socket) -> bytes:
        self.reads.wait()
        return _received(client)

    def _downstream(self, connection: Connection) -> None:
        while data := _received(connection.server):
            time.sleep(self.latency)
            if connection.is_hole or self.drops_last_words:
                continue
            if connection.is_swallowing:
                part = data[: int(len(data) * self.position)]
                _sent(connection.client, part.removesuffix(_READY_FOR_QUERY))
                self.faulted.set()
                connection.cut(reset=self.reset)
                return
            connection.client_spoke_last = False
            _sent(connection.client, data)
        if self.drops_fin:
            connection.is_server_gone = True
        elif not connection.is_hole:
            connection.cut()

    def _meet(self, connection: Connection, data: bytes) -> None:
        fault, self.fault = self.fault, None
        if fault is Fault.BLACK_HOLE:
            connection.is_hole = True
            self.faulted.set()
            return
        if fault in (Fault.CUT_ANSWERED, Fault.CUT_ANSWER):
            self.position = 0.0 if fault is Fault.CUT_ANSWERED else self.position
            connection.is_swallowing = True
            _sent(connection.server, data)
            return
        parts = {Fault.CUT_BEFORE: 0, Fault.CUT_SENT: len(data)}
        cut_at = min(int(len(data) * self.position), len(data) - 1)
        _sent(connection.server, data[: parts.get(fault or Fault.CUT_REQUEST, cut_at)])
        self.faulted.set()
        connection.cut(reset=self.reset and fault is not Fault.CUT_SENT)


def error_response(text: str, severity: str, sqlstate: str) -> bytes:
    """Return an ErrorResponse message of Postgres's protocol."""
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": text}
    body = b"".join(f"{key}{value}".encode() + b"\0" for key, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body


def _refuse(client: socket.socket, answer: bytes) -> None:
    with client:
        if _received(client):
            _sent(client, answer)
            client.shutdown(socket.SHUT_WR)
            _received(client)


def _received(side: socket.socket) -> bytes:
    try:
        return side.recv(65536)
    except OSError:
        return b""


def _sent(side: socket.socket, data: bytes) -> None:
    try:
        side.sendall(data)
    except OSError:
        return  # the other end has gone, and the test is about what it missed


@contextmanager
def direct_tls(target: int, certificate: Path, key: Path) -> Iterator[int]:
    """Run a proxy that takes TLS without Postgres's request, as Neon's does; yield its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["postgresql"])
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                client = context.wrap_socket(raw, server_side=True)
            except OSError:
                raw.close()
                continue
            server = socket.create_connection(("127.0.0.1", target))
            for one, other in ((client, server), (server, client)):
                threads.append(threading.Thread(target=_copy, args=(one, other)))
                threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # the other direction has closed it
    finally:
        for side in (source, sink):
            with suppress(OSError), side:  # the other direction may have closed it first
                side.shutdown(socket.SHUT_RDWR)
