"""CloudFormation, as far as functions need it that recorded events are played to.

A server on this machine takes what custom resources respond, and knows one stack, which says where
the API is.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

_HOST = "127.0.0.1"
_STACK = """
<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
  <DescribeStacksResult><Stacks><member>
    <StackName>local</StackName>
    <StackStatus>UPDATE_COMPLETE</StackStatus>
    <CreationTime>2026-01-01T00:00:00Z</CreationTime>
    <Outputs><member>
      <OutputKey>ApiUrl</OutputKey><OutputValue>{address}</OutputValue>
    </member></Outputs>
  </member></Stacks></DescribeStacksResult>
</DescribeStacksResponse>
"""


@dataclass(frozen=True, slots=True)
class StandIn:
    """Where it listens, and the responses so far."""

    url: str
    received: Sequence[Any]

    @property
    def variables(self) -> Mapping[str, str]:
        """How functions find it."""
        return {"AWS_ENDPOINT_URL_CLOUDFORMATION": self.url}


@contextlib.asynccontextmanager
async def aws_stand_in(address: str) -> AsyncIterator[StandIn]:
    """Answer until the end of the block; `address` is the stack's API."""
    received: list[Any] = []

    async def accept(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.method == "POST":  # DescribeStacks is all that functions ask for
            return web.Response(text=_STACK.format(address=address), content_type="text/xml")
        received.append(json.loads(body))
        return web.Response()

    runner = web.ServerRunner(web.Server(accept), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, _HOST, 0).start()
        yield StandIn(f"http://{_HOST}:{runner.addresses[0][1]}", received)
    finally:
        await runner.cleanup()
