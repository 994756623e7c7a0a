"""The HTTP API: from a socket to a function's event and back.

SAM CLI's local gateway differs from an HTTP API in unknown routes, trailing slashes, bodies that
are not UTF-8, preflight and the authorizer's cache (docs/sam-local.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from local.errors import InvocationError, ThrottledError
from local.events import (
    Request,
    Response,
    add_body,
    authorizer_event,
    message,
    read_request,
    read_response,
    routed,
)
from local.http_api import find_route, is_preflight, with_cors
from local.runtime import PAYLOAD_LIMIT, Deployed, Runtime
from local.template import Authorizer, Route, Template
from local.terminal import Terminal

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
_BODY_LIMIT = 10 * 1024 * 1024
_HEAD_LIMIT = 10_240
_INTEGRATION_SECONDS = 30.0

_REMEMBERED = 1000  # verdicts

_BAD_REQUEST = message(400, "Bad Request")
_UNAUTHORIZED = message(401, "Unauthorized")
_FORBIDDEN = message(403, "Forbidden")
_INTERNAL = message(500, "Internal Server Error")
_NOT_FOUND = message(404, "Not Found")
_TOO_LARGE = message(413, "Request Entity Too Large")
_UNAVAILABLE = message(503, "Service Unavailable", ("retry-after", "1"))


@dataclass(slots=True)
class Gateway:
    """Answers HTTP requests with the functions of a template.

    `template` returns the template to use right now. The terminal shows each request, and the
    reason for the gateway's own 500 and 503. `page` responds on paths that the template has no
    route for, or returns None.
    """

    runtime: Runtime
    template: Callable[[], Awaitable[Template]]
    terminal: Terminal
    port: int
    page: Callable[[Request], Response | None]
    _verdicts: dict[object, tuple[float, Deployed | None, dict[str, Any]]] = field(
        default_factory=dict
    )

    async def __call__(self, incoming: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; nothing that a client sends makes this raise."""
        started = time.perf_counter()
        template = await self.template()
        body, refusal = await _read_body(incoming)
        request = read_request(incoming, body, self.port)
        response = refusal or await self._respond(template, request)
        response = with_cors(response, template.cors, request)
        path, seconds = incoming.raw_path.partition("?")[0], time.perf_counter() - started
        self.terminal.answered(request.method, path, response.status, seconds)
        headers = CIMultiDict([*response.headers, ("apigw-requestid", request.id)])
        outgoing = web.Response(status=response.status, headers=headers, body=response.body or None)
        if refusal:
            outgoing.force_close()  # the rest of the body would be taken for a request
        return outgoing

    async def _respond(self, template: Template, request: Request) -> Response:
        if template.cors and is_preflight(request):
            return Response(204)
        found = find_route(template.routes, request.method, request.path)
        if found is None:
            return self.page(request) or _NOT_FOUND
        try:
            return await self._called(request, *found)
        except InvocationError as failure:
            self.terminal.complain(f"{failure}\n{failure.traceback}")
            return _UNAVAILABLE if isinstance(failure, ThrottledError) else _INTERNAL

    async def _called(self, request: Request, route: Route, variables: dict[str, str]) -> Response:
        event = routed(request, route, variables)
        if route.authorizer:
            identity = [request.headers.get(name, "") for name in route.authorizer.headers]
            if not all(identity):
                return _UNAUTHORIZED
            verdict = await self._verdict(route.authorizer, event, identity)
            if not verdict["isAuthorized"]:
                return _FORBIDDEN
            event["requestContext"]["authorizer"] = {"lambda": verdict.get("context")}
        add_body(event, request)
        return await self._invoke(route.function, json.dumps(event).encode())

    async def _verdict(
        self, authorizer: Authorizer, event: dict[str, Any], identity: list[str]
    ) -> dict[str, Any]:
        """Return the authorizer's verdict on an identity; raise InvocationError when it fails.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html
        """
        key = (authorizer, *identity)
        deployed = self.runtime.deployed(authorizer.function)
        expires, asked, verdict = self._verdicts.get(key, (0.0, None, {}))
        if expires <= time.monotonic() or asked != deployed:  # an edited one is asked again
            verdict = await self._ask(authorizer.function, authorizer_event(event, identity))
            self._verdicts[key] = (time.monotonic() + authorizer.ttl, deployed, verdict)
            if len(self._verdicts) > _REMEMBERED:
                del self._verdicts[next(iter(self._verdicts))]
        return verdict

    async def _ask(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        try:
            verdict = json.loads(await self.runtime.invoke(function, json.dumps(event).encode()))
        except ThrottledError as failure:  # to an HTTP API an authorizer's failures are all alike
            raise InvocationError(str(failure)) from None
        if not isinstance(verdict, dict) or not isinstance(verdict.get("isAuthorized"), bool):
            raise InvocationError(f"{function} did not answer with isAuthorized")
        return verdict

    async def _invoke(self, function: str, payload: bytes) -> Response:
        if len(payload) > PAYLOAD_LIMIT:
            return _TOO_LARGE
        # The gateway gives up after its own limit; the function works on until its time-out.
        work = asyncio.create_task(self.runtime.invoke(function, payload))
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait([work], timeout=_INTEGRATION_SECONDS)
        if not work.done():
            raise ThrottledError(f"{function} takes longer than {_INTEGRATION_SECONDS:g} seconds")
        response = read_response(work.result())
        if response is None:
            raise InvocationError(f"{function}: its result is not an HTTP response")
        return response


async def _read_body(incoming: web.BaseRequest) -> tuple[bytes, Response | None]:
    """Return the body, and the response when it is too large or does not arrive."""
    try:
        if incoming.headers.get("expect", "").lower() == "100-continue":
            await incoming.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async with asyncio.timeout(_INTEGRATION_SECONDS):
            return await incoming.read(), None
    except web.HTTPRequestEntityTooLarge:
        return b"", _TOO_LARGE
    except (web.RequestPayloadError, TimeoutError):  # malformed chunks appear as either
        return b"", _BAD_REQUEST
    except ConnectionError:  # the client is gone, and nobody reads the response
        return b"", _BAD_REQUEST


@contextlib.asynccontextmanager
async def serving(
    gateway: Gateway, listener: socket.socket, *, grace: float
) -> AsyncIterator[None]:
    """Serve on a bound socket; at the end, give requests `grace` seconds to finish."""
    loop = asyncio.get_running_loop()
    server = web.Server(
        gateway,
        request_factory=partial(web.BaseRequest, loop=loop, client_max_size=_BODY_LIMIT),
        auto_decompress=False,  # functions get the body as it was sent
        max_line_size=_HEAD_LIMIT,
        max_field_size=_HEAD_LIMIT,
    )
    # aiohttp waits that long twice: for requests to finish, and for its own tasks to end.
    runner = web.ServerRunner(server, access_log=None, shutdown_timeout=grace / 2)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=1024).start()
        yield
    finally:
        await runner.cleanup()
