"""The HTTP API: from a socket to a function's event and back.

Not SAM CLI's own local gateway: its one request method decides in one place what an HTTP API does
differently (404 for unknown routes, trailing slashes, bodies that are not UTF-8, preflight, the
authorizer's cache), so there would be nothing left of it to use.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from aiohttp import web
from multidict import CIMultiDict

from local.authorizer import Authorizers, RefusedError
from local.cors import is_preflight, preflight, with_cors
from local.environment import PAYLOAD_LIMIT
from local.errors import InvocationError, ThrottledError
from local.events import (
    Answer,
    Request,
    forwarded,
    function_event,
    has_no_body,
    message,
    read_answer,
    read_headers,
)
from local.routing import Match, find_route
from local.runtime import Runtime, detached
from local.template import Template

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
_BODY_LIMIT = 10 * 1024 * 1024
_HEAD_LIMIT = 10_240
_INTEGRATION_SECONDS = 30.0

# Of the event loop: one to find the pipe readable, one to read it, one to be on the safe side.
_TURNS_TO_READ = 3

_BAD_REQUEST = message(400, "Bad Request")
_INTERNAL = message(500, "Internal Server Error")
_NOT_FOUND = message(404, "Not Found")
_TOO_LARGE = message(413, "Request Entity Too Large")
_UNAVAILABLE = message(503, "Service Unavailable", ("retry-after", "1"))

OnAnswer = Callable[[str, str, int, float, str | None], None]
OnFailure = Callable[[str], None]


class Gateway:
    """Answers HTTP requests with the functions of a template.

    `template` gives the one to use right now; `on_answer` is told method, path, status, seconds
    and the function's request id; `on_failure` why a request ended in the gateway's own 500 or 503.
    `page` answers what the template has no route for, or returns None.
    """

    def __init__(
        self,
        runtime: Runtime,
        template: Callable[[], Awaitable[Template]],
        *,
        port: int,
        on_answer: OnAnswer,
        on_failure: OnFailure,
        page: Callable[[Request], Answer | None],
    ) -> None:
        self._runtime = runtime
        self._template = template
        self._authorizers = Authorizers(runtime)
        self._port = port
        self._on_answer = on_answer
        self._on_failure = on_failure
        self._page = page

    async def __call__(self, incoming: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; nothing that a client sends makes this raise."""
        started = time.perf_counter()
        template = await self._template()
        request = _read_head(incoming, self._port)
        try:
            body = await _read_body(incoming)
        except (web.RequestPayloadError, TimeoutError):
            body, answer = None, _BAD_REQUEST
        else:
            request = dataclasses.replace(request, body=body or b"")
            answer = _TOO_LARGE if body is None else await self._answer(template, request)
        if template.cors:
            answer = with_cors(answer, template.cors, request)
        seconds = time.perf_counter() - started
        detached(self._report(request, incoming.raw_path, answer, seconds))
        return _response(answer, request, keep_alive=body is not None)

    async def _report(self, request: Request, target: str, answer: Answer, seconds: float) -> None:
        """Tell of the request after what its function wrote, which is in the pipe by now."""
        for _ in range(_TURNS_TO_READ):
            await asyncio.sleep(0)
        request_id = dict(answer.headers).get("x-request-id")
        path = target.partition("?")[0]
        self._on_answer(request.method, path, answer.status, seconds, request_id)

    async def _answer(self, template: Template, request: Request) -> Answer:
        if template.cors and is_preflight(request):
            return preflight(template.cors)
        match = find_route(template.routes, request.method, request.path)
        if match is None:
            return self._page(request) or _NOT_FOUND
        try:
            identity = await self._identify(template, request, match)
            return await self._invoke(request, match, identity)
        except RefusedError as refusal:
            return refusal.answer
        except (ThrottledError, TimeoutError) as failure:
            self._on_failure(str(failure) or f"{match.route.function} took longer than 30 seconds")
            return _UNAVAILABLE
        except InvocationError as failure:
            trace = getattr(failure.__cause__ or failure, "traceback", "")
            self._on_failure(f"{failure}\n{trace}")
            return _INTERNAL

    async def _identify(self, template: Template, request: Request, match: Match) -> dict[str, Any]:
        if match.route.authorizer is None:
            return {}
        authorizer = template.authorizers[match.route.authorizer]
        return await self._authorizers.identify(authorizer, request, match)

    async def _invoke(self, request: Request, match: Match, identity: dict[str, Any]) -> Answer:
        payload = json.dumps(function_event(request, match, identity)).encode()
        if len(payload) > PAYLOAD_LIMIT:
            return _TOO_LARGE
        # The gateway gives up after its own limit; the function works on until its time-out.
        work = detached(self._runtime.invoke(match.route.function, payload))
        async with asyncio.timeout(_INTEGRATION_SECONDS):
            result = await asyncio.shield(work)
        answer = read_answer(result)
        if answer is None:
            raise InvocationError(f"{match.route.function}: its answer is not an HTTP response")
        return answer


def _read_head(incoming: web.BaseRequest, port: int) -> Request:
    path, query = _split_target(incoming.raw_path)
    source = incoming.remote or ""
    headers, cookies = read_headers(incoming.raw_headers)
    return Request(
        id=base64.urlsafe_b64encode(secrets.token_bytes(11)).decode(),
        method=incoming.method,
        path=path,
        query=query,
        protocol=f"HTTP/{incoming.version.major}.{incoming.version.minor}",
        headers=forwarded(headers, source, port),
        cookies=cookies,
        source=source,
    )


def _split_target(target: str) -> tuple[str, str]:
    """Return path (decoded once) and query (as sent) of a target (RFC 9112, section 3.2)."""
    target = re.sub(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?]*", "", target)
    path, _, query = target.partition("?")
    raw = path.encode(errors="surrogateescape")  # bytes that are no ASCII arrive in this way
    return unquote_to_bytes(raw).decode(errors="replace") or "/", _valid(query)


def _valid(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")


async def _read_body(incoming: web.BaseRequest) -> bytes | None:
    """Return the body, or None when it is larger than an HTTP API takes.

    Raises TimeoutError when it does not arrive, which is also how malformed chunks appear:
    aiohttp does not tell whoever is reading.
    """
    if (incoming.content_length or 0) > _BODY_LIMIT:
        return None
    if incoming.headers.get("expect", "").lower() == "100-continue":
        await incoming.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    async with asyncio.timeout(_INTEGRATION_SECONDS):
        async for chunk in incoming.content.iter_any():
            body += chunk
            if len(body) > _BODY_LIMIT:
                return None
    return bytes(body)


def _response(answer: Answer, request: Request, *, keep_alive: bool) -> web.Response:
    headers = CIMultiDict([*answer.headers, ("apigw-requestid", request.id)])
    body = None if has_no_body(answer.status) else answer.body
    response = web.Response(status=answer.status, headers=headers, body=body)
    if not keep_alive:
        response.force_close()
    return response


@contextlib.asynccontextmanager
async def serving(
    gateway: Gateway, listener: socket.socket, *, grace: float
) -> AsyncIterator[None]:
    """Serve on a bound socket; at the end, give requests `grace` seconds to finish."""
    server = web.Server(
        gateway,
        auto_decompress=False,  # functions get what was sent
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
