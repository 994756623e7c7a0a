"""One execution environment of Lambda, driven by the measuring thread itself.

The measuring thread itself is the Runtime API
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): it accepts, reads the process's
poll, starts its clock, writes the event and reads the response. It adds one wake-up of this process
to a request, for all contenders alike.
"""

from __future__ import annotations

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
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

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
    """A context manager that starts a process, waits until it asks for an event, and ends it.

    Entering and `invoke` raise BenchError when the process reports an error, ends, or says nothing
    for half a minute. `init` are the seconds of the start.
    """

    def __init__(self, command: Command) -> None:
        self._command = command

    def __enter__(self) -> Environment:
        with ExitStack() as stack:
            self._output = stack.enter_context(tempfile.TemporaryFile())
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            started = time.perf_counter()
            self._start(f"127.0.0.1:{listener.getsockname()[1]}")
            stack.callback(self._end)
            self._wire = stack.enter_context(self._accept(listener))
            self._reader = stack.enter_context(self._wire.makefile("rb", 1 << 20))
            self._expect(b"/next", "could not start")
            self.init = time.perf_counter() - started
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

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
        # Before the event is written: a thread that is preempted after it would measure too little.
        started = time.perf_counter()
        self._wire.sendall(head.encode() + event)
        body = self._expect(b"/response", "failed")
        seconds = time.perf_counter() - started
        self._wire.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        self._expect(b"/next", "failed")
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

    def _start(self, runtime_api: str) -> None:
        self._process = subprocess.Popen(
            self._command.arguments,
            cwd=self._command.folder,
            env={**self._command.variables, "AWS_LAMBDA_RUNTIME_API": runtime_api},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # Ctrl-C is for the benchmark, which ends the process
        )

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _accept(self, listener: socket.socket) -> socket.socket:
        """Accept the process's connection, unless it ends first."""
        ended, arrived = os.pidfd_open(self._process.pid), listener.fileno()
        found, _, _ = select.select([arrived, ended], [], [], _WAIT_SECONDS)
        os.close(ended)
        if arrived not in found:
            raise self._silent()
        wire, _ = listener.accept()
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Python's own time-out would add a system call to each request.
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _WAIT_SECONDS, 0))
        return wire

    def _expect(self, path: bytes, problem: str) -> bytes:
        """Read the process's next request, which should go to this path; return its body."""
        length = 0
        try:
            request = self._reader.readline()
            while len(header := self._reader.readline()) > len(b"\r\n"):
                if header.lower().startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
            body = self._reader.read(length) or b""
        except ConnectionError:
            raise self._silent() from None
        if not request or len(body) < length:
            raise self._silent()
        if not request.split(b" ")[1].endswith(path):
            error = json.loads(body)
            what = " ".join(f"{error['errorType']}: {error['errorMessage']}".split())
            raise BenchError(f"{self._command.name} {problem}: {what}")
        return body

    def _silent(self) -> BenchError:
        """Return the error of a process that has ended, or that says nothing."""
        try:
            what = f"ended (status {self._process.wait(timeout=1)})"
        except subprocess.TimeoutExpired:
            what = f"said nothing for {_WAIT_SECONDS} seconds"
        self._output.seek(0)
        last = self._output.read().decode(errors="replace").strip().rpartition("\n")[2]
        return BenchError(f"{self._command.name} {what}: {last or 'no output'}")
