"""One execution environment, driven by whoever measures it: no thread, no event loop.

The measuring thread itself is the Runtime API
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): it accepts, reads the process's
poll, writes the event, starts its clock, and reads the answer. What it adds to a request is one
wake-up of this process, for all contenders alike.
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
from types import TracebackType
from typing import Any

from local.environment import trace_id

_WAIT_SECONDS = 30
_TIMEVAL = struct.pack("ll", _WAIT_SECONDS, 0)
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
_END_OF_HEAD = b"\r\n\r\n"


class EnvironmentFailed(Exception):
    """A contender's process did not do what it was asked for; `str()` is one sentence."""


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a process: its arguments, the folder it starts in, all of its variables."""

    name: str
    arguments: Sequence[str]
    folder: Path
    variables: Mapping[str, str]


class Environment:
    """A started process; `ready()` once, then `invoke()`, or `send()` and `answer()` apart.

    A context manager that ends the process. Everything raises EnvironmentFailed when the process
    reports an error, ends, or says nothing for half a minute.
    """

    def __init__(self, command: Command) -> None:
        self.name = command.name
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the environment
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connection: socket.socket | None = None
        self._count = 0
        self._pidfd = -1
        host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            command.arguments,
            cwd=command.folder,
            env={**command.variables, "AWS_LAMBDA_RUNTIME_API": host},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # Ctrl-C is for the benchmark, which ends it
        )
        self._pidfd = os.pidfd_open(self._process.pid)

    def __enter__(self) -> Environment:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._pidfd)
        for each in (self._connection, self._listener, self._output):
            if each is not None:
                each.close()

    def fileno(self) -> int:
        """The connection, so that many environments can be waited for at once."""
        assert self._connection is not None
        return self._connection.fileno()

    def ready(self) -> None:
        """Wait until the process asks for its next event."""
        path, body = self._request()
        if not path.endswith("/next"):
            raise EnvironmentFailed(f"{self.name} could not start: {_reported(body)}")

    def invoke(self, event: bytes) -> tuple[float, bytes]:
        """One request: the seconds from the event to the answer, and the answer."""
        self.send(event)
        started = time.perf_counter()
        body = self.answer()
        seconds = time.perf_counter() - started
        self.ready()
        return seconds, body

    def send(self, event: bytes) -> None:
        """Give the process, which waits for it, its next event."""
        assert self._connection is not None
        self._count += 1
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {self._count:08d}-5b1e-4c64-8f0a-3f1d2b7c9e55\r\n"
            f"Lambda-Runtime-Deadline-Ms: {int(time.time() * 1000) + 15_000}\r\n"
            f"Lambda-Runtime-Trace-Id: {trace_id()}\r\n"
            "Lambda-Runtime-Invoked-Function-Arn:"
            " arn:aws:lambda:us-east-1:123456789012:function:bench\r\n"
            f"Content-Length: {len(event)}\r\n\r\n"
        )
        self._connection.sendall(head.encode() + event)

    def answer(self) -> bytes:
        """Wait for the answer of the event that was sent; what the process asks next waits."""
        path, body = self._request()
        assert self._connection is not None
        self._connection.sendall(_ACCEPTED)
        if not path.endswith("/response"):
            raise EnvironmentFailed(f"{self.name} failed: {_reported(body)}")
        return body

    @staticmethod
    def now() -> float:
        """The clock that `started` was read from, in seconds."""
        return time.perf_counter()

    def cpu(self) -> float:
        """Seconds of processor time that the process has used so far, all threads."""
        # clock_getcpuclockid(3) in one line: another process's clock has a name of its own.
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def peak_memory(self) -> int:
        """Bytes that were resident at most."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(each for each in status.splitlines() if each.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def output(self) -> str:
        """All that the process has printed so far, on both of its streams."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    # --- the Runtime API ---

    def _request(self) -> tuple[str, bytes]:
        """The next request: its path and its body."""
        received = b""
        while _END_OF_HEAD not in received:
            received += self._receive(is_new=not received)
        head, _, body = received.partition(_END_OF_HEAD)
        parts, length = [body], _content_length(head) - len(body)
        while length > 0:
            parts.append(self._receive(is_new=False))
            length -= len(parts[-1])
        return head.split(b" ", 2)[1].decode(), b"".join(parts)

    def _receive(self, *, is_new: bool) -> bytes:
        if self._connection is None:
            self._connection = self._accept()
        try:
            data = self._connection.recv(1 << 20)
        except BlockingIOError:
            raise EnvironmentFailed(
                f"{self.name} said nothing for {_WAIT_SECONDS} seconds: {self._last_words()}"
            ) from None
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
        """The process's connection, or what it said when it ended instead."""
        waiting = select.poll()
        waiting.register(self._listener, select.POLLIN)
        waiting.register(self._pidfd, select.POLLIN)
        found = [each for each, _ in waiting.poll(_WAIT_SECONDS * 1000)]
        if self._listener.fileno() not in found:
            raise self._ended()
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL)
        return connection

    def _ended(self) -> EnvironmentFailed:
        try:
            status = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return EnvironmentFailed(f"{self.name} stopped talking: {self._last_words()}")
        return EnvironmentFailed(f"{self.name} ended (status {status}): {self._last_words()}")

    def _last_words(self) -> str:
        said = [line.strip() for line in self.output().split("\n") if line.strip()]
        return said[-1] if said else "it printed nothing"


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _reported(body: bytes) -> str:
    """An error document of the runtime client, in one line."""
    try:
        document: Any = json.loads(body)
        text = f"{document['errorType']}: {document['errorMessage']}"
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
    return " ".join(text.split())
