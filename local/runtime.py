"""All functions of a template, each with the execution environments that it needs right now.

As Lambda does it: an idle environment takes the next request; when all are busy another one
starts, up to a limit; beyond it requests wait for a while and are then refused. Functions share
nothing, so a busy one never delays another.

An environment is a process with the real awslambdaric, and the Runtime API that it polls
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): it imports the handler, asks for
the next invocation, posts its response, and asks again. awslambdaric takes a host and a port,
without a path, so each environment has a port of its own. Only its process may call it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

import psutil
from aiohttp import web

from deploy.template import REGION, function_arn
from local.errors import (
    CrashedError,
    FunctionError,
    InvocationError,
    ThrottledError,
    TimedOutError,
)
from local.events import trace_id
from local.live import Fingerprint, fingerprint_of
from local.packages import Packages
from local.settings import Settings
from local.template import Function

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 6 MB, plus room for
# the envelope.
PAYLOAD_LIMIT = 6_291_556
_LINE_LIMIT = 16 * 1024 * 1024
_INIT_SECONDS = 10.0  # Lambda's limit for the import of a handler
_SECONDS_IN_LINE = 10.0
# More starts at a time than processors only make each of them slower.
_STARTS_AT_A_TIME = os.cpu_count() or 1

_PR_SET_PDEATHSIG = 1
# Has the kernel end a process when the gateway is gone, however it ended.
_END_WITH_PARENT = partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGKILL)

OnLine = Callable[[str, str], None]


class Runtime:
    """Invokes functions by name. Call `use` with all functions first, and again after an edit."""

    def __init__(
        self, settings: Settings, progress: Callable[[str], None], on_line: OnLine
    ) -> None:
        self._settings = settings
        self._packages = Packages(settings.root, progress)
        self._on_line = on_line
        self._functions: dict[str, tuple[Function, list[Path]]] = {}
        self._pools: dict[str, _Pool] = {}
        self._all: set[Environment] = set()

    async def use(self, functions: Mapping[str, Function]) -> None:
        """Serve these functions from now on; those that did not change keep their environments.

        Raise LocalError when their dependencies cannot be installed; nothing has changed then.
        """
        self._functions = {
            name: (function, await self._packages.import_path(function))
            for name, function in functions.items()
        }

    async def invoke(self, name: str, payload: bytes) -> bytes:
        """Run one function with one event (JSON) and return its result's JSON.

        Raise InvocationError: FunctionError, CrashedError, TimedOutError, or ThrottledError.
        """
        pool = self._pool(name)
        try:
            async with asyncio.timeout(_SECONDS_IN_LINE):
                await pool.slots.acquire()
        except TimeoutError:
            raise ThrottledError(
                f"{name}: all {pool.limit} environments stayed busy for {_SECONDS_IN_LINE:g} s"
            ) from None
        try:
            environment = pool.idle_one(self.deployed(name)) or await self._started(name, pool)
            try:
                return await environment.invoke(payload)
            finally:
                pool.idle.append(environment)
        finally:
            pool.slots.release()

    async def warm(self, name: str) -> None:
        """Start an environment before the first request needs it; raise InvocationError."""
        pool = self._pool(name)
        pool.idle.append(await self._started(name, pool))

    def _pool(self, name: str) -> _Pool:
        return self._pools.setdefault(name, _Pool(self._settings.concurrency))

    def deployed(self, name: str) -> Deployed:
        """Return the function's current state; raise InvocationError when there is none."""
        if name not in self._functions:
            raise InvocationError(f"{name} is not in template.yaml, or no longer")
        function, path = self._functions[name]
        return Deployed(function, path, fingerprint_of(function.code, *function.layers))

    async def close(self) -> None:
        """End all environments and wait until they are gone; requests that wait fail."""
        self._functions = {}
        everything = [*self._all]
        for environment in everything:
            environment.end()
        await asyncio.gather(*(each.life for each in everything), return_exceptions=True)

    async def _started(self, name: str, pool: _Pool) -> Environment:
        async with pool.starts:
            deployed = self.deployed(name)
            if environment := pool.idle_one(deployed):  # another request has finished meanwhile
                return environment
            environment = Environment(deployed, self._on_line)
            self._all.add(environment)
            environment.life.add_done_callback(lambda _: self._all.discard(environment))
            await environment.start()
            return environment


class _Pool:
    """The environments of one function."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.slots = asyncio.Semaphore(limit)
        self.starts = asyncio.Semaphore(_STARTS_AT_A_TIME)
        self.idle: list[Environment] = []

    def idle_one(self, deployed: Deployed) -> Environment | None:
        """Return the idle environment that was used last; end those from before an edit."""
        for each in [each for each in self.idle if each.is_over or each.deployed != deployed]:
            self.idle.remove(each)
            each.end()
        return self.idle.pop() if self.idle else None


class Deployed(NamedTuple):
    """The code and settings of an environment; after a change another environment is needed."""

    function: Function
    path: list[Path]
    files: Fingerprint


class Environment:
    """A process of one function; it takes one invocation at a time.

    Call `start` once, then `invoke` as long as `is_over` is False, then `end`. `on_line` is called
    for each line of the process' output.
    """

    def __init__(self, deployed: Deployed, on_line: OnLine) -> None:
        self.deployed = deployed
        self.is_over = False
        self._function = deployed.function
        self._timeout = deployed.function.timeout
        self._on_line = on_line
        self._events: asyncio.Queue[web.Response] = asyncio.Queue()
        # The process' reports: first that it is ready, and then the result of each event.
        self._reports: asyncio.Queue[bytes | InvocationError] = asyncio.Queue()
        self._is_ready = False
        self._last_line = ""
        self._request_id = ""
        self._known: WeakSet[asyncio.Transport] = WeakSet()
        self._process: asyncio.subprocess.Process | None = None
        self.life = asyncio.create_task(self._live())

    async def start(self) -> None:
        """Wait until the handler is imported.

        Raise FunctionError, CrashedError, or TimedOutError; the process ends then.
        """
        await self._reported(max(self._timeout, _INIT_SECONDS))

    async def invoke(self, payload: bytes) -> bytes:
        """Hand over one event and return the result's JSON.

        Raise FunctionError, CrashedError, or TimedOutError; with the last two `is_over` is True.
        """
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
        """Kill the process and its children; Lambda gives no notice either."""
        self.is_over = True
        if self._process is None:
            self.life.cancel()
        elif not self.life.done():  # its children may outlive it, and hold its pipe open
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _reported(self, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                report = await self._reports.get()
        except TimeoutError:
            self.end()
            report = TimedOutError(f"{self._function.name} timed out after {seconds:g} seconds")
        except asyncio.CancelledError:
            self.end()  # its late report would be taken for the answer to the next event
            raise
        if isinstance(report, InvocationError):
            raise report
        return report

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
            self._reports.put_nowait(self._crashed())
            self.end()
            await server.shutdown(timeout=1)

    async def _run(self, port: int) -> None:
        # The Python beneath the virtual environment, without any site-packages. It writes no byte
        # code, which is valid for any source of the same size and second: it could outlive an edit.
        python = getattr(sys, "_base_executable", sys.executable)
        self._process = await asyncio.create_subprocess_exec(
            *(python, "-S", "-B", "-m", "awslambdaric", self._function.handler),
            cwd=self._function.code,
            env={
                **_platform_variables(self._function),
                **self._function.environment,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
                "PYTHONPATH": os.pathsep.join(map(str, self.deployed.path)),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_LIMIT,
            start_new_session=True,  # Ctrl-C is ours to handle; and its children end with it
            preexec_fn=_END_WITH_PARENT,
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

    def _crashed(self) -> CrashedError:
        when = "in the middle of a request" if self._is_ready else "while it started"
        status = self._process.returncode if self._process else None
        said = f": {self._last_line}" if self._last_line else ""
        return CrashedError(f"{self._function.name} ended {when} (exit status {status}){said}")

    # --- the Runtime API, as seen from the process ---

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._is_from_process(request):
            return web.Response(status=403)
        body = await request.content.read()
        match request.path.removeprefix("/2018-06-01/runtime/").split("/"):
            case ["invocation", "next"]:
                if not self._is_ready:
                    self._is_ready = True
                    self._reports.put_nowait(b"")
                return await self._events.get()
            case ["invocation", self._request_id, "response"]:
                self._reports.put_nowait(self._within_limits(body))
            case ["invocation", self._request_id, "error"] | ["init", "error"]:
                error = json.loads(body.decode(errors="replace"))
                self._reports.put_nowait(FunctionError(self._function.name, error))
            case _:
                return web.Response(status=403)
        return web.json_response({"status": "OK"}, status=202)

    def _is_from_process(self, request: web.BaseRequest) -> bool:
        """Tell whether the process owns the other end, because any program can reach the port."""
        connection = request.transport
        if connection in self._known:
            return True
        if self._process is None or connection is None:
            return False
        with contextlib.suppress(psutil.Error):
            ends = psutil.Process(self._process.pid).net_connections("tcp4")
            if connection.get_extra_info("peername") in [end.laddr for end in ends]:
                self._known.add(connection)
                return True
        return False

    def _within_limits(self, answer: bytes) -> bytes | FunctionError:
        if len(answer) <= PAYLOAD_LIMIT:
            return answer
        error = {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": f"Response payload size ({len(answer)} bytes) exceeded maximum allowed"
            f" payload size ({PAYLOAD_LIMIT} bytes).",
        }
        return FunctionError(self._function.name, error)


def _platform_variables(function: Function) -> dict[str, str]:
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
