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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from local.errors import CrashedError, FunctionError, InvocationError, TimedOutError
from local.intrinsics import REGION, function_arn
from local.template import Function

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 6 MB, plus room for
# the envelope.
PAYLOAD_LIMIT = 6_291_556
_API = "/2018-06-01/runtime"
_DAY = 86_400.0

OnLine = Callable[[str, str], None]


@dataclass(slots=True)
class _Invocation:
    payload: bytes
    deadline: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    answer: asyncio.Future[bytes] = field(default_factory=asyncio.Future)


class Environment:
    """A started process of one function; it takes one invocation at a time.

    `on_ready` is called whenever it waits for an invocation, `on_exit` once when it has ended
    (with the reason when that was while it started), `on_line` for each line of its output.
    """

    def __init__(
        self,
        function: Function,
        path: Sequence[Path],
        *,
        fingerprint: object,
        write_byte_code: bool,
        debugger: Sequence[str] = (),
        on_ready: Callable[[Environment], None],
        on_exit: Callable[[Environment, InvocationError | None], None],
        on_line: OnLine,
    ) -> None:
        self.function = function
        self.fingerprint = fingerprint
        self._path = path
        self._options = [*(["-S"] if write_byte_code else ["-S", "-B"]), *debugger]
        # Whoever looks at a line of a program takes longer than any program may.
        self._timeout = _DAY if debugger else function.timeout
        self._on_ready = on_ready
        self._on_exit = on_exit
        self._on_line = on_line
        self._next: asyncio.Queue[_Invocation | None] = asyncio.Queue()
        self._current: _Invocation | None = None
        self._init_error: FunctionError | None = None
        self._initialised = False
        self._is_over = False
        self._last_line = ""
        self._process: asyncio.subprocess.Process | None = None
        self._life = asyncio.create_task(self._live())

    async def invoke(self, payload: bytes) -> bytes:
        """Hand over one event and return the answer's JSON.

        Raises FunctionError, CrashedError, or TimedOutError; the last two mean that the process is
        gone.
        """
        if self._is_over:
            raise self._crashed("between two requests")
        timeout = self._timeout
        invocation = _Invocation(payload, time.time() + timeout)
        self._current = invocation
        self._next.put_nowait(invocation)
        try:
            async with asyncio.timeout(timeout):
                return await invocation.answer
        except TimeoutError:
            self.end()
            raise TimedOutError(
                f"{self.function.name} timed out after {timeout:g} seconds"
            ) from None

    def end(self) -> None:
        """Kill the process and what it started; Lambda gives no notice either."""
        process = self._process
        if process is None:
            self._life.cancel()
        elif not self._life.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    async def ended(self) -> None:
        """Wait until the process and its Runtime API are gone."""
        await asyncio.wait([self._life])

    async def _live(self) -> None:
        server = web.Server(self._serve)
        try:
            listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
            try:
                await self._run(listener.sockets[0].getsockname()[1])
            finally:
                listener.close()
        except OSError as error:
            self._last_line = str(error)
        finally:
            self._is_over = True
            self._next.put_nowait(None)
            self._on_exit(self, self._why_not_started())
            self._fail_current()
            await server.shutdown(timeout=1)

    async def _run(self, port: int) -> None:
        # The Python beneath the virtual environment, without any site-packages.
        python = getattr(sys, "_base_executable", sys.executable)
        self._process = await asyncio.create_subprocess_exec(
            *(python, *self._options, "-m", "awslambdaric", self.function.handler),
            cwd=self.function.code,
            env=self._variables(port),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle; and its children end with it
            preexec_fn=_end_with_parent,
        )
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            await self._read(self._process.stdout)
            await self._process.wait()
        except asyncio.CancelledError:
            self.end()
            raise

    def _variables(self, port: int) -> dict[str, str]:
        return {
            **platform_variables(self.function),
            **self.function.environment,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "PYTHONPATH": os.pathsep.join(map(str, self._path)),
        }

    async def _read(self, output: asyncio.StreamReader) -> None:
        unfinished = b""
        while chunk := await output.read(65536):
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            for line in lines:
                self._line(line)
            if len(unfinished) > PAYLOAD_LIMIT:
                self._line(unfinished)
                unfinished = b""
        if unfinished:
            self._line(unfinished)

    def _line(self, raw: bytes) -> None:
        # Without JSON logs awslambdaric separates the lines of one message by carriage returns.
        line = raw.decode(errors="replace").replace("\r", "\n").rstrip()
        if line:
            self._last_line = line.splitlines()[-1].strip()
            self._on_line(self.function.name, line)

    def _why_not_started(self) -> InvocationError | None:
        if self._initialised:
            return None
        return self._init_error or self._crashed("while it started")

    def _crashed(self, when: str) -> CrashedError:
        status = None if self._process is None else self._process.returncode
        said = f": {self._last_line}" if self._last_line else ""
        return CrashedError(f"{self.function.name} ended {when} (exit status {status}){said}")

    def _fail_current(self) -> None:
        if self._current and not self._current.answer.done():
            self._current.answer.set_exception(self._crashed("in the middle of a request"))

    # --- the Runtime API, as seen from the process ---

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        what = request.path.removeprefix(_API)
        if what == "/invocation/next":
            return await self._give_next()
        if what == "/init/error":
            self._init_error = FunctionError(self.function.name, _error_document(body))
        elif what.startswith("/invocation/"):
            self._take_answer(what, body)
        return web.json_response({"status": "OK"}, status=202)

    async def _give_next(self) -> web.Response:
        self._initialised = True
        self._current = None
        self._on_ready(self)
        invocation = await self._next.get()
        if invocation is None:
            return web.Response(status=410)  # the process that asked is gone
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": function_arn(self.function.name),
            "Lambda-Runtime-Trace-Id": trace_id(),
        }
        return web.Response(
            body=invocation.payload, headers=headers, content_type="application/json"
        )

    def _take_answer(self, what: str, body: bytes) -> None:
        _, _, invocation_id, kind = what.split("/")
        current = self._current
        if current is None or current.id != invocation_id or current.answer.done():
            return
        name = self.function.name
        if kind == "error":
            current.answer.set_exception(FunctionError(name, _error_document(body)))
        elif len(body) > PAYLOAD_LIMIT:
            current.answer.set_exception(FunctionError(name, _too_large(len(body))))
        else:
            current.answer.set_result(body)


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


def _error_document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    return {"errorType": "Runtime.Unknown", "errorMessage": body.decode(errors="replace")}


def _too_large(size: int) -> dict[str, Any]:
    return {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": f"Response payload size ({size} bytes) exceeded maximum allowed payload"
        f" size ({PAYLOAD_LIMIT} bytes).",
    }


_libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Have the kernel end this process when the gateway is gone, however it went (Linux).

    Elsewhere awslambdaric ends by itself, once its poll of the Runtime API fails.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
