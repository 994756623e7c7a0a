"""The whole API on this machine: packages, database, schema, functions and gateway.

`make run` serves it until Ctrl-C; `make invoke`, `make events` and `make migrate` for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from local import page
from local.errors import InvocationError, LocalError
from local.gateway import Gateway, serving
from local.live import Live
from local.postgres import Postgres
from local.runtime import OnLine, Runtime
from local.settings import HOST, Settings
from local.template import Template, parameter_names, read_template
from local.terminal import Terminal

DATABASE = "DatabaseUrl"  # the template parameter that an embedded Postgres stands in for
MIGRATE = "Migrate"
_API_ROLE = "task_api"  # made by the schema
_API_LOGIN = "task_login"
_GRACE_SECONDS = 4.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Api:
    """The served API; `postgres` is the embedded one, unless DATABASE_URL names another.

    `migrated` is what Migrate answered when the schema was applied.
    """

    address: str
    template: Template
    runtime: Runtime
    postgres: Postgres | None
    environ: Mapping[str, str]
    migrated: Any


@contextlib.asynccontextmanager
async def serving_api(
    settings: Settings, port: int, terminal: Terminal, *, shares_database: bool = False
) -> AsyncIterator[Api]:
    """Bring everything up in order, serve on `port` (0 takes a free one), and take it all down.

    With `shares_database`, the embedded Postgres that another process started is used, too.
    Raises LocalError with one sentence when something is missing.
    """
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_bind(port))
        port = listener.getsockname()[1]
        address = f"http://{HOST}:{port}"
        uses_database = DATABASE in parameter_names(settings.template)
        postgres = embedded_postgres(settings, terminal.say) if uses_database else None
        is_up = postgres is not None and shares_database and postgres.is_running()
        database_ready = await stack.enter_async_context(starting(None if is_up else postgres))
        runtime = await stack.enter_async_context(
            functions_runtime(settings, terminal.say, terminal.function_line)
        )
        environ = environ_with(settings, postgres)
        complain = terminal.complain

        async def read() -> Template:
            found = await asyncio.to_thread(read_template, settings.template, environ)
            await runtime.use(found.functions)
            return found

        live = Live(settings.template, read, complain=complain)
        template = await live.load()
        await database_ready()
        schema, migrated = None, None
        if MIGRATE in template.functions:
            folder = template.functions[MIGRATE].code
            apply = _Migration(runtime, settings, postgres)
            schema = Live(folder, apply, complain=complain)
            terminal.shows_functions = False  # what goes wrong here is told in one sentence
            migrated = await schema.load()
            terminal.shows_functions = True

        async def current() -> Template:
            if schema:
                await schema.current()
            return await live.current()

        gateway = Gateway(
            runtime,
            current,
            terminal,
            port=port,
            page=partial(page.answer, environ=environ),
        )
        await stack.enter_async_context(serving(gateway, listener, grace=_GRACE_SECONDS))
        yield Api(address, template, runtime, postgres, environ, migrated)


def _bind(port: int) -> socket.socket:
    """Take the port before anything else is touched; nobody can connect to it yet."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise LocalError(
                f"Port {port} is taken by another program; stop it or choose another with PORT=..."
            ) from None
        raise LocalError(f"Port {port} cannot be used: {error.strerror}.") from None
    return listener


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
    runtime = Runtime(settings, progress, on_line)
    try:
        yield runtime
    finally:
        await runtime.close()


@dataclass(frozen=True, slots=True)
class _Migration:
    """Applies the schema by the function that does it; raises LocalError when it cannot."""

    runtime: Runtime
    settings: Settings
    postgres: Postgres | None

    async def __call__(self) -> Any:
        try:
            answer = await self.runtime.invoke(MIGRATE, json.dumps({}).encode())
        except InvocationError as failure:
            reason = " ".join(str(failure).split())
            database = "DATABASE_URL" if self.settings.database_url else "the embedded database"
            raise LocalError(f"The schema cannot be applied to {database}: {reason}") from None
        if self.postgres:
            await asyncio.to_thread(let_the_api_in, self.postgres)
        return json.loads(answer)


def let_the_api_in(postgres: Postgres) -> None:
    """Make the API's login once the schema has made the role that it acts as."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        if _API_LOGIN not in known:
            member = f"IN ROLE {_API_ROLE}" if _API_ROLE in known else ""
            connection.execute(f"CREATE ROLE {_API_LOGIN} LOGIN NOINHERIT {member}")
