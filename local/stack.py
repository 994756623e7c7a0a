"""What every subcommand needs around the functions: their packages and their database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import psycopg

from local.environment import OnLine
from local.errors import InvocationFailed, LocalError
from local.packages import Debugged, Packages
from local.postgres import Postgres
from local.runtime import Limits, Runtime
from local.settings import Settings
from local.template import Function

DATABASE = "DatabaseUrl"  # the template parameter that an embedded Postgres stands in for
MIGRATE = "Migrate"
_API_ROLE = "task_api"  # made by the schema
_API_LOGIN = "task_login"

Progress = Callable[[str], None]


def embedded_postgres(settings: Settings, progress: Progress) -> Postgres | None:
    """Return this checkout's own Postgres, not yet started; None when DATABASE_URL is given."""
    if settings.database_url:
        return None
    return Postgres(settings.state / "postgres", progress=progress)


def environ_with(settings: Settings, postgres: Postgres | None) -> Mapping[str, str]:
    """Return what template parameters are taken from.

    As on Neon, the API has a login that owns nothing; only Migrate is the database's owner.
    """
    if postgres is None:
        return settings.environ
    api = postgres.url_for(_API_LOGIN, "tasks")
    return {**settings.environ, "DATABASE_URL": api, "OWNER_DATABASE_URL": postgres.url}


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
    debugged = Debugged(settings.debug, settings.debug_port) if settings.debug else None
    packages = Packages(settings.root, progress, built=settings.built, debugged=debugged)
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


async def apply_schema(runtime: Runtime, settings: Settings, postgres: Postgres | None) -> bytes:
    """Invoke Migrate and return its answer; raises LocalError when the schema cannot be applied."""
    try:
        answer = await runtime.invoke(MIGRATE, json.dumps({}).encode())
    except InvocationFailed as failure:
        reason = " ".join(str(failure).split())
        database = "DATABASE_URL" if settings.database_url else "the embedded database"
        raise LocalError(f"The schema cannot be applied to {database}: {reason}") from None
    if postgres:
        await asyncio.to_thread(let_the_api_in, postgres)
    return answer


def let_the_api_in(postgres: Postgres) -> None:
    """Make the API's login once the schema has made the role that it acts as."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        if _API_LOGIN not in known:
            member = f"IN ROLE {_API_ROLE}" if _API_ROLE in known else ""
            connection.execute(f"CREATE ROLE {_API_LOGIN} LOGIN NOINHERIT {member}")
