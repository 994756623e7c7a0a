"""What every subcommand needs around the functions: their packages and their database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from local.environment import OnLine
from local.errors import InvocationFailed, LocalError
from local.packages import Packages
from local.postgres import Postgres
from local.runtime import Limits, Runtime
from local.settings import Settings
from local.template import Function

DATABASE = "DatabaseUrl"  # the template parameter that an embedded Postgres stands in for
MIGRATE = "Migrate"

Progress = Callable[[str], None]


def embedded_postgres(settings: Settings, progress: Progress) -> Postgres | None:
    """Return this checkout's own Postgres, not yet started; None when DATABASE_URL is given."""
    if settings.database_url:
        return None
    return Postgres(settings.state / "postgres", progress=progress)


def environ_with(settings: Settings, postgres: Postgres | None) -> Mapping[str, str]:
    """Return what template parameters are taken from."""
    return {**settings.environ, **({"DATABASE_URL": postgres.url} if postgres else {})}


@contextlib.asynccontextmanager
async def starting(postgres: Postgres | None) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Begin to start Postgres, give a function that waits for it, and stop it at the end.

    It starts in a thread, which nothing can interrupt: also when all of this is cancelled, it is
    stopped after it has started.
    """
    start = asyncio.create_task(asyncio.to_thread(postgres.start)) if postgres else None

    async def ready() -> None:
        if start:
            await asyncio.shield(start)

    try:
        yield ready
    finally:
        if start and postgres:
            await asyncio.gather(start, return_exceptions=True)
            await asyncio.to_thread(postgres.stop)


@contextlib.asynccontextmanager
async def functions_runtime(
    settings: Settings, progress: Progress, on_line: OnLine
) -> AsyncIterator[Runtime]:
    """Give a runtime, and end all of its processes at the end."""
    packages = Packages(settings.root, progress, built=settings.built)
    limits = Limits(environments=settings.concurrency)
    runtime = Runtime(packages, limits=limits, on_line=on_line)
    try:
        yield runtime
    finally:
        await runtime.close()


def check_build(settings: Settings, functions: Mapping[str, Function]) -> None:
    """Refuse a build for another Python: its byte code and its wheels would not fit.

    Raises LocalError.
    """
    mine = f"python{sys.version_info.major}.{sys.version_info.minor}"
    other = {function.runtime for function in functions.values()} - {mine}
    if settings.built and other:
        raise LocalError(f"The build is for {', '.join(sorted(other))} and this is {mine}.")


async def apply_schema(runtime: Runtime, settings: Settings) -> bytes:
    """Invoke Migrate and return its answer; raises LocalError when the schema cannot be applied."""
    try:
        return await runtime.invoke(MIGRATE, json.dumps({}).encode())
    except InvocationFailed as failure:
        reason = " ".join(str(failure).split())
        database = "DATABASE_URL" if settings.database_url else "the embedded database"
        raise LocalError(f"The schema cannot be applied to {database}: {reason}") from None
