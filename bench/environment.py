"""One execution environment of Lambda, driven by whoever measures it, without thread or event loop.

The measuring thread itself is the Runtime API
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): it accepts, reads the process's
poll, starts its clock, writes the event and reads the response. It adds one wake-up of this process
to a request, for all contenders alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contract import BenchError

_WAIT_SECONDS = 30
_TIMEVAL = struct.pack("ll", _WAIT_SECONDS, 0)
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
_END_OF_HEAD = b"\r\n\r\n"
_ARN = "arn:aws:lambda:eu-central-1:123456789012:function:bench"
_TRACE = "Root=1-6920367a-1c0f3f0d5a7b4e2f9d8c6b5a;Parent=53995c3f42cd8ad8;Sampled=0"


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a process: its arguments, the folder it starts in, all of its variables."""

    name: str
    arguments: Sequence[str]
    folder: Path
    variables: Mapping[str, str]


class Environment:
    """A started process: call `ready()` once, then `invoke()`, or `send()` and `answer()`.

    A context manager that ends the process. Every method raises BenchError when the process
    reports an error, ends, or says nothing for half a minute.
    """

    def __init__(self, command: Command) -> None:
        self.name = command.name
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the environment
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connection: socket.socket | None = None
        self._count = 0
        host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            command.arguments,
            cwd=command.folder,
            env={**command.variables, "AWS_LAMBDA_RUNTIME_API": host},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # Ctrl-C is for the benchmark, which ends the process
        )
        self._pidfd = os.pidfd_open(self._process.pid)

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._pidfd)
        for each in (self._connection, self._listener, self._output):
            if each is not None:
                each.close()

    def fileno(self) -> int:
        """Return the connection's number, so that many environments can be polled at once."""
        assert self._connection is not None
        return self._connection.fileno()

    def ready(self) -> None:
        """Wait until the process asks for its next event."""
        path, body = self._request()
        if not path.endswith("/next"):
            raise BenchError(f"{self.name} could not start: {_reported(body)}")

    def invoke(self, event: bytes) -> tuple[float, bytes]:
        """Send an event; return the seconds until its response, and the response."""
        # Before the event is written: whoever is preempted after it would measure too little.
        started = time.perf_counter()
        self.send(event)
        body = self.answer()
        seconds = time.perf_counter() - started
        self.ready()
        return seconds, body

    def send(self, event: bytes) -> None:
        """Give the waiting process its next event."""
        assert self._connection is not None
        self._count += 1
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {self._count:08d}-5b1e-4c64-8f0a-3f1d2b7c9e55\r\n"
            f"Lambda-Runtime-Deadline-Ms: {int(time.time() * 1000) + 15_000}\r\n"
            f"Lambda-Runtime-Trace-Id: {_TRACE}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {_ARN}\r\n"
            f"Content-Length: {len(event)}\r\n\r\n"
        )
        self._connection.sendall(head.encode() + event)

    def answer(self) -> bytes:
        """Wait for the response to the event; the process's next request stays unread."""
        path, body = self._request()
        assert self._connection is not None
        self._connection.sendall(_ACCEPTED)
        if not path.endswith("/response"):
            raise BenchError(f"{self.name} failed: {_reported(body)}")
        return body

    def cpu(self) -> float:
        """Return the seconds of processor time that all threads of the process have used."""
        # clock_getcpuclockid(3) in one line: another process's clock has a number of its own.
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def peak_memory(self) -> int:
        """Return the most bytes that were ever resident."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(each for each in status.splitlines() if each.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    # --- the Runtime API ---

    def _request(self) -> tuple[str, bytes]:
        """Read the process's next request: its path and its body."""
        received = b""
        while _END_OF_HEAD not in received:
            received += self._receive(is_new=not received)
        head, _, body = received.partition(_END_OF_HEAD)
        parts, missing = [body], _content_length(head) - len(body)
        while missing > 0:
            parts.append(self._receive(is_new=False))
            missing -= len(parts[-1])
        return head.split(b" ", 2)[1].decode(), b"".join(parts)

    def _receive(self, *, is_new: bool) -> bytes:
        if self._connection is None:
            self._connection = self._accept()
        try:
            data = self._connection.recv(1 << 20)
        except BlockingIOError:
            raise self._silent("said nothing") from None
        except ConnectionError:
            data = b""
        if data:
            return data
        self._connection.close()
        self._connection = None
        if not is_new:
            raise self._ended()
        return self._receive(is_new=True)

    def _accept(self) -> socket.socket:
        """Accept the process's connection, unless it ends first."""
        waiting = select.poll()
        waiting.register(self._listener, select.POLLIN)
        waiting.register(self._pidfd, select.POLLIN)
        found = [each for each, _ in waiting.poll(_WAIT_SECONDS * 1000)]
        if not found:
            raise self._silent("did not connect")
        if self._listener.fileno() not in found:
            raise self._ended()
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL)
        return connection

    def _silent(self, what: str) -> BenchError:
        return BenchError(f"{self.name} {what} for {_WAIT_SECONDS} seconds: {self._last_line()}")

    def _ended(self) -> BenchError:
        try:
            status = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return BenchError(f"{self.name} closed its connection: {self._last_line()}")
        return BenchError(f"{self.name} ended (status {status}): {self._last_line()}")

    def _last_line(self) -> str:
        self._output.seek(0)
        output = self._output.read().decode(errors="replace")
        lines = [line.strip() for line in output.split("\n") if line.strip()]
        return lines[-1] if lines else "it printed nothing"


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _reported(body: bytes) -> str:
    """Return an error document of the runtime client as one line."""
    try:
        document: Any = json.loads(body)
        text = f"{document['errorType']}: {document['errorMessage']}"
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
    return " ".join(text.split())
