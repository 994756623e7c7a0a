"""The load generator of chaos and flood: HTTP clients of a running API, and their records."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil

from local.token import make_token
from tests.running import Running

SECRET = "a-secret-that-only-this-run-knows-0123456789"


@dataclass(frozen=True)
class Response:
    """A response, read whole."""

    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass
class Record:
    """What clients saw: the statuses, and the milliseconds of each response."""

    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)

    async def send(
        self, session: aiohttp.ClientSession, method: str, path: str, token: str, **request: Any
    ) -> Response:
        """Send a request with the token, and record its response."""
        headers = {"Authorization": f"Bearer {token}"} | dict(request.pop("headers", {}))
        started = time.perf_counter()
        async with session.request(method, path, headers=headers, **request) as response:
            body = await response.json(content_type=None)
        self.milliseconds.append((time.perf_counter() - started) * 1000)
        self.statuses[response.status] += 1
        return Response(response.status, body, response.headers)

    def percentile(self, percent: float) -> float:
        """Return the milliseconds that `percent` of the responses did not exceed."""
        return percentile(self.milliseconds, percent)


def percentile(values: list[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed; 0 for no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


@asynccontextmanager
async def session_of(api: Running) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session with as many connections as there are requests at once."""
    timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(api.url, timeout=timeout, connector=connector) as session:
        yield session


def token_of(user: str) -> str:
    """Return a token of the user that outlives any run."""
    return make_token(user, {"JWT_SECRET": SECRET})


def environments(api: Running) -> int:
    """Return how many execution environments the API has started and not ended."""
    children = psutil.Process(api.process.pid).children(recursive=True)
    return sum("awslambdaric" in " ".join(child.cmdline()) for child in children)


def counts(numbers: Mapping[Any, int]) -> str:
    """Return the numbers by name, for a table."""
    return ", ".join(f"{name}: {number}" for name, number in sorted(numbers.items()))
