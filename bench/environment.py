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
from pathlib import Path
from typing import Any, NamedTuple

from bench.contract import BenchError

_WAIT_SECONDS = 30
_ARN = "arn:aws:lambda:eu-central-1:123456789012:function:bench"
_TRACE = "Root=1-6920367a-1c0f3f0d5a7b4e2f9d8c6b5a;Parent=53995c3f42cd8ad8;Sampled=0"


class Command(NamedTuple):
    """How to start a process: its arguments, the folder it starts in, all of its variables."""

    name: str
    arguments: Sequence[str]
    folder: Path
    variables: Mapping[str, str]


class Environment:
    """A started process: call `ready()` once, then `invoke()` for each request.

    A context manager that ends the process. Every method raises BenchError when the process
    reports an error, ends, or says nothing for half a minute.
    """

    def __init__(self, command: Command) -> None:
        self.name = command.name
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the environment
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._wire: socket.socket | None = None
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

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for each in (self._wire, self._listener, self._output):
            if each is not None:
                each.close()

    def ready(self) -> None:
        """Wait until the process asks for its next event."""
        if self._wire is None:
            self._accept()
        self._expect("/next", "could not start")

    def invoke(self, event: bytes) -> tuple[float, bytes]:
        """Send an event; return the seconds until its response, and the response."""
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            "Lambda-Runtime-Aws-Request-Id: 5b1e4c64-3f0d-4c64-8f0a-3f1d2b7c9e55\r\n"
            f"Lambda-Runtime-Deadline-Ms: {int(time.time() * 1000) + 15_000}\r\n"
            f"Lambda-Runtime-Trace-Id: {_TRACE}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {_ARN}\r\n"
            f"Content-Length: {len(event)}\r\n\r\n"
        )
        # Before the event is written: whoever is preempted after it would measure too little.
        started = time.perf_counter()
        self._connection.sendall(head.encode() + event)
        body = self._expect("/response", "failed")
        seconds = time.perf_counter() - started
        self._connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        self.ready()
        return seconds, body

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

    @property
    def _connection(self) -> socket.socket:
        assert self._wire is not None, "call ready() first"
        return self._wire

    def _accept(self) -> None:
        """Accept the process's connection, unless it ends first."""
        ended = os.pidfd_open(self._process.pid)
        listener = self._listener.fileno()
        found, _, _ = select.select([listener, ended], [], [], _WAIT_SECONDS)
        os.close(ended)
        if listener not in found:
            raise self._silent()
        self._wire, _ = self._listener.accept()
        self._wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Python's own time-out would add a system call to each request.
        limit = struct.pack("ll", _WAIT_SECONDS, 0)
        self._wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def _expect(self, path: str, problem: str) -> bytes:
        """Read the process's next request, which should go to this path; return its body."""
        received = self._receive()
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, _, body = received.partition(b"\r\n\r\n")
        parts, missing = [body], _content_length(head) - len(body)
        while missing > 0:
            parts.append(self._receive())
            missing -= len(parts[-1])
        whole = b"".join(parts)
        if not head.split(b" ", 2)[1].endswith(path.encode()):
            raise BenchError(f"{self.name} {problem}: {_reported(whole)}")
        return whole

    def _receive(self) -> bytes:
        try:
            received = self._connection.recv(1 << 20)
        except (BlockingIOError, ConnectionError):
            received = b""
        if not received:
            raise self._silent()
        return received

    def _silent(self) -> BenchError:
        """Return what to say of a process that has ended, or that says nothing."""
        try:
            what = f"ended (status {self._process.wait(timeout=1)})"
        except subprocess.TimeoutExpired:
            what = f"said nothing for {_WAIT_SECONDS} seconds"
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
        return BenchError(f"{self.name} {what}: {last}")


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _reported(body: bytes) -> str:
    """Return an error document of the runtime client as one line."""
    document: Any = json.loads(body)
    return " ".join(f"{document['errorType']}: {document['errorMessage']}".split())
