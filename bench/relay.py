"""A relay that makes a server far away and counts round trips: `python -m bench.relay PORT MS`.

It is a process of its own, so that it takes no turn from whoever measures. Everything arrives half
a round trip after it was sent. The first bytes of a client arrive a whole round trip later still,
because TCP's handshake, which loopback does at once, would have taken that.

A round trip is counted when a client speaks after it has been spoken to. The process prints its
port, then the count for each line that it reads, and ends with its input.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections import deque

_CHUNK = 1 << 16
# A timer fires a tenth of a millisecond or two late. So it is set early, and the rest is awaited
# without sleeping.
_EARLY_SECONDS = 0.0003


class Relay:
    """The relay as its user sees it: a context manager with a port and a count."""

    def __init__(self, target: int, milliseconds: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.relay", str(target), f"{milliseconds}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the benchmark, which ends the process
        )
        self.port = self._number()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")

    def round_trips(self) -> int:
        """Return how many there were so far, on all connections."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._number()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


class _End:
    """One end of a connection, and what is on its way to it."""

    def __init__(self, wire: socket.socket, *, is_client: bool) -> None:
        self.wire = wire
        self.is_client = is_client
        self.other: _End
        self.due: deque[tuple[float, bytes]] = deque()
        self.has_spoken = False  # since it was spoken to
        self.is_new = is_client
        self.is_listening = True

    def fileno(self) -> int:
        return self.wire.fileno()


class _Relaying:
    def __init__(self, target: int, seconds: float) -> None:
        self.round_trips = 0
        self._target = target
        self._half = seconds / 2
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._ends: set[_End] = set()
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        while True:
            readers = [end for end in self._ends if end.is_listening]
            waited_for = [sys.stdin, self._listener, *readers]
            ready, _, _ = select.select(waited_for, [], [], self._deliver())
            for each in ready:
                if isinstance(each, _End):
                    self._read(each)
                elif each is self._listener:
                    self._accept()
                elif not sys.stdin.readline():
                    return
                else:
                    print(self.round_trips, flush=True)

    def _accept(self) -> None:
        client = _End(self._listener.accept()[0], is_client=True)
        server = _End(socket.create_connection(("127.0.0.1", self._target)), is_client=False)
        client.other, server.other = server, client
        for end in (client, server):
            end.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends.add(end)
        self.round_trips += 1  # TCP's own

    def _read(self, end: _End) -> None:
        now = time.monotonic()
        try:
            data = end.wire.recv(_CHUNK)
        except ConnectionError:
            data = b""
        if end.is_client and data and not end.has_spoken:
            end.has_spoken = True
            self.round_trips += 1
        handshake = 2 * self._half if end.is_new else 0.0
        end.is_new = False
        end.is_listening = bool(data)
        last = end.other.due[-1][0] if end.other.due else 0.0
        end.other.due.append((max(now + self._half + handshake, last), data))

    def _deliver(self) -> float | None:
        """Hand over what has arrived by now; return the seconds until the next arrival."""
        for end in [*self._ends]:
            while end.due and end.due[0][0] <= time.monotonic():
                self._hand_over(end, end.due.popleft()[1])
        times = [end.due[0][0] for end in self._ends if end.due]
        return max(min(times) - time.monotonic() - _EARLY_SECONDS, 0.0) if times else None

    def _hand_over(self, end: _End, data: bytes) -> None:
        end.has_spoken = False
        try:
            if data:
                end.wire.sendall(data)
            else:
                end.wire.shutdown(socket.SHUT_WR)
        except OSError:
            end.is_listening = False  # it is gone, and so is what was on its way
            end.other.is_listening = False
        if not (end.is_listening or end.other.is_listening or end.due or end.other.due):
            self._forget(end)

    def _forget(self, end: _End) -> None:
        for each in (end, end.other):
            self._ends.discard(each)
            each.wire.close()


if __name__ == "__main__":
    relaying = _Relaying(int(sys.argv[1]), float(sys.argv[2]) / 1000)
    print(relaying.port, flush=True)
    relaying.run()
