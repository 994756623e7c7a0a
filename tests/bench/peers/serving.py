"""A contender's function as a process of Lambda's own runtime client, one request at a time.

This is for the tests, which ask for answers. Nothing here is fit for measuring.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryFile
from threading import Thread
from typing import Any
from uuid import uuid4

from local.environment import trace_id
from tests.bench.peers import Contender

Answer = dict[str, Any]

_WAIT_SECONDS = 60.0


class Function:
    """A started function. Raises AssertionError with its output when it does not answer."""

    def __init__(self, api: _RuntimeApi, process: subprocess.Popen[bytes], output: Any) -> None:
        self._api = api
        self._process = process
        self._output = output

    def invoke(self, event: Mapping[str, Any]) -> Answer:
        """The answer to one event."""
        self._api.events.put(json.dumps(event).encode())
        path, body = self._answered()
        assert path.endswith("/response"), body.decode()
        answer: Answer = json.loads(body)
        return answer

    def _answered(self) -> tuple[str, bytes]:
        end = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(Empty):
                return self._api.answers.get(timeout=0.2)
        raise AssertionError(f"it gave no answer ({self._process.poll()}): {self.log()}")

    def log(self) -> str:
        """All that it has printed so far."""
        self._output.seek(0)
        return str(self._output.read().decode(errors="replace"))


@contextmanager
def function(
    contender: Contender, operation: str, python: Path, runtime: Path, settings: Mapping[str, str]
) -> Iterator[Function]:
    """Start the function of one operation, and end it afterwards."""
    folder = contender.functions[operation]
    with _RuntimeApi() as api, TemporaryFile() as output:
        variables = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": operation,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_REGION": "us-east-1",
            "LAMBDA_TASK_ROOT": str(folder),
            "PYTHONPATH": os.pathsep.join(map(str, [folder, *contender.path, runtime])),
            "PYTHONUTF8": "1",
            "TZ": ":UTC",
        }
        process = subprocess.Popen(
            [python, "-S", "-B", "-m", "awslambdaric", contender.handler],
            cwd=folder,
            env={**variables, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield Function(api, process, output)
        finally:
            process.kill()
            process.wait()


class _RuntimeApi(ThreadingHTTPServer):
    """https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, for one process."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.events: SimpleQueue[bytes] = SimpleQueue()
        self.answers: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def server_close(self) -> None:
        self.shutdown()
        self._thread.join()
        super().server_close()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes
    server: _RuntimeApi

    def do_GET(self) -> None:
        event = self.server.events.get()
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": str(uuid4()),
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 30_000),
            "Lambda-Runtime-Trace-Id": trace_id(),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:1:function:x",
        }
        self._answer(200, event, headers)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.answers.put((self.path, body))
        self._answer(202, b"", {})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        with suppress(ConnectionResetError):  # the process was killed, as it is in the end
            super().handle()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""
