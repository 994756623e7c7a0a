"""One execution environment: a process with the real awslambdaric, and the Runtime API it polls.

Lambda's life cycle (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): the process
imports the handler, asks for the next invocation, posts its answer, and asks again. Each
environment has a port of its own because awslambdaric takes a host and a port, without a path,
and because one environment works on one invocation at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import secrets
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from local.errors import CrashedError, FunctionError, TimedOutError
from local.intrinsics import REGION, function_arn
from local.live import Fingerprint
from local.template import Function

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 6 MB, plus room for
# the envelope.
PAYLOAD_LIMIT = 6_291_556
_LINE_LIMIT = 16 * 1024 * 1024
_INIT_SECONDS = 10.0  # what Lambda gives the import of a handler
_DAY = 86_400.0

OnLine = Callable[[str, str], None]


class Deployed(NamedTuple):
    """What an environment runs; when any of it changes, another environment is needed."""

    function: Function
    path: list[Path]
    files: Fingerprint


class Environment:
    """A process of one function; it takes one invocation at a time.

    Call `start` once, then `invoke` as long as `is_over` is False, then `end`. `debugger` are
    Python's arguments that start one; `on_line` is called for each line of the process' output.
    """

    def __init__(self, deployed: Deployed, debugger: Sequence[str], on_line: OnLine) -> None:
        self.deployed = deployed
        self.is_over = False
        self._function = deployed.function
        self._debugger = debugger
        # Whoever looks at a line of a program takes longer than any program may.
        self._timeout = _DAY if debugger else deployed.function.timeout
        self._on_line = on_line
        self._events: asyncio.Queue[web.Response] = asyncio.Queue()
        self._request_id = ""
        # What the process says next: that it is ready, and later each of its answers.
        self._report: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._is_ready = False
        self._last_line = ""
        self._process: asyncio.subprocess.Process | None = None
        self.life = asyncio.create_task(self._live())

    async def start(self) -> None:
        """Wait until the handler is imported.

        Raises FunctionError, CrashedError, or TimedOutError; the process ends then.
        """
        await self._reported(max(self._timeout, _INIT_SECONDS))

    async def invoke(self, payload: bytes) -> bytes:
        """Hand over one event and return the answer's JSON.

        Raises FunctionError, CrashedError, or TimedOutError; with the last two `is_over` is True.
        """
        self._report = asyncio.get_running_loop().create_future()
        self._request_id = str(uuid.uuid4())
        headers = {
            "Lambda-Runtime-Aws-Request-Id": self._request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self._timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": function_arn(self._function.name),
            "Lambda-Runtime-Trace-Id": trace_id(),
        }
        event = web.Response(body=payload, headers=headers, content_type="application/json")
        self._events.put_nowait(event)
        return await self._reported(self._timeout)

    def end(self) -> None:
        """Kill the process and what it started; Lambda gives no notice either."""
        self.is_over = True
        if self._process is None:
            self.life.cancel()
        elif self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _reported(self, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await self._report
        except TimeoutError:
            self.end()
            raise TimedOutError(
                f"{self._function.name} timed out after {seconds:g} seconds"
            ) from None

    # --- the process ---

    async def _live(self) -> None:
        """Run the process, and the Runtime API beside it, to its end."""
        server = web.Server(self._serve, handler_cancellation=True)
        try:
            listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
            with contextlib.closing(listener):
                await self._run(listener.sockets[0].getsockname()[1])
        except (OSError, ValueError) as error:  # it cannot be started, or wrote an endless line
            self._last_line = str(error)
        finally:
            self._fail()
            self.end()
            await server.shutdown(timeout=1)

    async def _run(self, port: int) -> None:
        # The Python beneath the virtual environment, without any site-packages. It writes no byte
        # code, which is valid for any source of the same size and second: it could outlive an edit.
        python = getattr(sys, "_base_executable", sys.executable)
        self._process = await asyncio.create_subprocess_exec(
            *(python, "-S", "-B", *self._debugger, "-m", "awslambdaric", self._function.handler),
            cwd=self._function.code,
            env={
                **platform_variables(self._function),
                **self._function.environment,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
                "PYTHONPATH": os.pathsep.join(map(str, self.deployed.path)),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_LIMIT,
            start_new_session=True,  # Ctrl-C is ours to handle; and its children end with it
            preexec_fn=_end_with_parent,
        )
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        async for line in self._process.stdout:
            self._tell(line)
        await self._process.wait()

    def _tell(self, raw: bytes) -> None:
        # Without JSON logs awslambdaric separates the lines of one message by carriage returns.
        line = raw.decode(errors="replace").replace("\r", "\n").rstrip()
        if line:
            self._last_line = line.splitlines()[-1].strip()
            self._on_line(self._function.name, line)

    def _fail(self) -> None:
        """Tell whoever waits for the process that it has ended."""
        if self._report.done():
            return
        when = "in the middle of a request" if self._is_ready else "while it started"
        status = self._process.returncode if self._process else None
        said = f": {self._last_line}" if self._last_line else ""
        self._report.set_exception(
            CrashedError(f"{self._function.name} ended {when} (exit status {status}){said}")
        )

    # --- the Runtime API, as seen from the process ---

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        *_, id_, what = request.path.split("/")
        body = await request.content.read()
        if what == "next":
            if not self._is_ready:
                self._is_ready = True
                self._report.set_result(b"")
            return await self._events.get()
        if not self._report.done() and id_ in ("init", self._request_id):
            self._take_report(what, body)
        return web.json_response({"status": "OK"}, status=202)

    def _take_report(self, what: str, body: bytes) -> None:
        error = json.loads(body) if what == "error" else None
        if what == "response" and len(body) > PAYLOAD_LIMIT:
            error = {
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": f"Response payload size ({len(body)} bytes) exceeded maximum"
                f" allowed payload size ({PAYLOAD_LIMIT} bytes).",
            }
        if error is None:
            self._report.set_result(body)
        else:
            self._report.set_exception(FunctionError(self._function.name, error))


def trace_id() -> str:
    """Return a new X-Ray trace header, not sampled."""
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Sampled=0"


def platform_variables(function: Function) -> dict[str, str]:
    """Return the variables that Lambda itself sets, and nothing of the user's own.

    The credentials are no real ones: an AWS call must not reach the developer's account.
    """
    variables = {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": function.log_format,
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[$LATEST]{uuid.uuid4().hex}",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": str(function.code),
        "LANG": "en_US.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONUTF8": "1",  # en_US.UTF-8 is always there in Lambda and often missing here
        "TZ": ":UTC",
        "_HANDLER": function.handler,
    }
    if "LD_LIBRARY_PATH" in os.environ:  # some Pythons do not start without it
        variables["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return variables


_libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Have the kernel end this process when the gateway is gone, however it went (Linux).

    Elsewhere awslambdaric ends by itself, once its poll of the Runtime API fails.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
