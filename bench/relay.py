"""A relay that makes a server far away and counts the round trips to it.

It is a process of its own, so that it takes no turn from whoever measures. Everything arrives half
a round trip after it was sent. The first bytes of a client arrive a whole round trip later still,
because TCP's handshake, which loopback does at once, would have taken that. A round trip is counted
when a client speaks after it has been spoken to.
"""

from __future__ import annotations

import multiprocessing
import signal
import socket
import time
from multiprocessing.sharedctypes import Synchronized
from queue import SimpleQueue
from threading import Event, Thread
from typing import TypeAlias

Count: TypeAlias = "Synchronized[int]"  # generic for the type checker only
OnItsWay = SimpleQueue[tuple[float, bytes]]

_LATE_SECONDS = 0.0001  # what a sleep takes too long
_SPAWN = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks


class Relay:
    """The relay as its user sees it: a context manager with a port and a count."""

    def __init__(self, target: int, milliseconds: float) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = listener.getsockname()[1]
        self._count: Count = _SPAWN.Value("l", 0)
        arguments = (listener, target, milliseconds / 1000, self._count)
        self._process = _SPAWN.Process(target=_relay, args=arguments, daemon=True)
        self._process.start()
        listener.close()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def round_trips(self) -> int:
        """Return how many there were so far, on all connections."""
        return self._count.value


def _relay(listener: socket.socket, target: int, seconds: float, count: Count) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the benchmark, which ends this
    while True:
        connection = _Connection(listener.accept()[0], target, seconds, count)
        Thread(target=connection.carry, daemon=True).start()


class _Connection:
    def __init__(self, client: socket.socket, port: int, seconds: float, count: Count) -> None:
        self._client = client
        self._server = socket.create_connection(("127.0.0.1", port))
        self._seconds = seconds
        self._count = count
        self._has_asked = Event()  # since it was spoken to

    def carry(self) -> None:
        """Carry bytes both ways until both sides have ended."""
        self._add_round_trip()  # TCP's own
        threads = []
        with self._client, self._server:
            for source, sink in (self._client, self._server), (self._server, self._client):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                on_its_way: OnItsWay = SimpleQueue()
                threads.append(Thread(target=self._hear, args=(source, on_its_way)))
                threads.append(Thread(target=self._deliver, args=(on_its_way, sink)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _hear(self, source: socket.socket, on_its_way: OnItsWay) -> None:
        delay = self._seconds * (1.5 if source is self._client else 0.5)
        data = b"something"
        while data:
            try:
                data = source.recv(1 << 16)
            except ConnectionError:
                data = b""
            on_its_way.put((time.monotonic() + delay, data))
            delay = self._seconds * 0.5
            if data and source is self._client and not self._has_asked.is_set():
                self._has_asked.set()
                self._add_round_trip()

    def _deliver(self, on_its_way: OnItsWay, sink: socket.socket) -> None:
        data = b"something"
        while data:
            due, data = on_its_way.get()
            time.sleep(max(due - time.monotonic() - _LATE_SECONDS, 0))
            if sink is self._client:
                self._has_asked.clear()
            try:
                sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)
            except OSError:
                return  # it is gone, and so is what was on its way

    def _add_round_trip(self) -> None:
        with self._count.get_lock():
            self._count.value += 1
