"""Who is calling: the API's Lambda authorizer, asked and remembered as an HTTP API does it.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.errors import InvocationError
from local.events import Answer, Request, authorizer_event, message
from local.routing import Match
from local.runtime import Runtime, detached
from local.template import Authorizer

_REMEMBERED = 1000

_Verdict = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    expires: float
    verdict: asyncio.Task[_Verdict]


class RefusedError(Exception):
    """The request ends here, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Authorizers:
    """Asks authorizers and keeps their answers, per value of the identity sources."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._entries: dict[object, _Entry] = {}

    async def identify(
        self, authorizer: Authorizer, request: Request, match: Match
    ) -> dict[str, Any]:
        """Return what becomes `requestContext.authorizer`.

        Raises RefusedError: 401 when an identity source is missing (the authorizer is not asked),
        403 when it says no. Raises InvocationError when it fails, which is 500.
        """
        identity = [_identity(source, request) for source in authorizer.identity_sources]
        if not all(identity):
            raise RefusedError(message(401, "Unauthorized"))
        try:
            verdict = await self._verdict(authorizer, request, match, identity)
        except InvocationError as failure:
            raise InvocationError(
                f"the authorizer {authorizer.name} failed: {failure}"
            ) from failure
        if not verdict["isAuthorized"]:
            raise RefusedError(message(403, "Forbidden"))
        return {"lambda": verdict.get("context")}

    async def _verdict(
        self, authorizer: Authorizer, request: Request, match: Match, identity: list[str]
    ) -> _Verdict:
        if not (authorizer.ttl and identity):
            return await self._ask(authorizer, request, match, identity)
        # An edited authorizer is asked again: its fingerprint is another one.
        key = (authorizer, *identity, self._runtime.fingerprint(authorizer.function))
        entry = self._entries.get(key)
        if entry is None or entry.expires < time.monotonic():
            # Requests that come while it is being asked share the question.
            task = detached(self._ask(authorizer, request, match, identity))
            entry = _Entry(time.monotonic() + authorizer.ttl, task)
            self._remember(key, entry)
        try:
            return await asyncio.shield(entry.verdict)
        except InvocationError:
            if self._entries.get(key) is entry:
                del self._entries[key]
            raise

    def _remember(self, key: object, entry: _Entry) -> None:
        self._entries.pop(key, None)
        self._entries[key] = entry
        if len(self._entries) > _REMEMBERED:
            del self._entries[next(iter(self._entries))]

    async def _ask(
        self, authorizer: Authorizer, request: Request, match: Match, identity: list[str]
    ) -> _Verdict:
        event = authorizer_event(request, match, identity)
        answer = await self._runtime.invoke(authorizer.function, json.dumps(event).encode())
        verdict = json.loads(answer)
        if not isinstance(verdict, dict) or not isinstance(verdict.get("isAuthorized"), bool):
            raise InvocationError(f"{authorizer.function} did not answer with isAuthorized")
        return verdict


def _identity(source: str, request: Request) -> str:
    """Return the value of an identity source such as `$request.header.Authorization`, or ""."""
    kind, _, name = source.removeprefix("$request.").partition(".")
    if kind == "header":
        return request.headers.get(name.lower(), "")
    if kind == "querystring":
        return request.parameters().get(name, "")
    return {"$context.httpMethod": request.method, "$context.path": request.path}.get(source, "")
