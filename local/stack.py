"""The whole API on this machine: packages, database, schema, functions and gateway.

`make run` serves it until Ctrl-C; `make invoke` and `make events` for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from deploy.template import parse
from local import page
from local.database import (
    check_database,
    create_api_login,
    embedded_postgres,
    environ_with,
    place_of,
)
from local.errors import InvocationError, LocalError
from local.events import Request, Response
from local.gateway import Gateway, serving
from local.live import Live
from local.postgres import Postgres
from local.runtime import Runtime
from local.settings import HOST, Settings, in_force
from local.specification.requests import first_request
from local.template import Template, read_template
from local.terminal import Terminal
from local.token import make_token

DATABASE = "DatabaseUrl"  # the template parameter that an embedded Postgres stands in for
MIGRATE = "Migrate"
_GRACE_SECONDS = 4.0

Page = Callable[[Request, Mapping[str, str]], Response | None]


@dataclass(frozen=True, slots=True)
class Api:
    """The served API; `postgres` is the embedded one, unless DATABASE_URL names another."""

    address: str
    template: Template
    runtime: Runtime
    postgres: Postgres | None
    environ: Mapping[str, str]


def run(settings: Settings) -> Coroutine[Any, Any, int]:
    """Serve the API until cancelled; raise LocalError when it cannot start."""
    check_database(settings)
    return _run(settings)


async def _run(settings: Settings) -> int:
    with Terminal(settings) as terminal:
        async with serving_api(settings, settings.port, terminal) as api:
            _welcome(terminal, settings, api)
            await asyncio.Event().wait()
    return 0


def _welcome(terminal: Terminal, settings: Settings, api: Api) -> None:
    routes = sorted(api.template.routes, key=lambda route: (route.path, route.method))
    width = max((len(route.path) for route in routes), default=0)
    for route in routes:
        terminal.say(f"  {route.method:<7} {route.path:<{width}}  {route.function}")
    if any(route.path == "/docs" for route in routes):
        terminal.say(f"Documentation: {api.address}/docs")
    for route in routes:
        if route.authorizer and route.path.count("{") < 2:
            request = first_request(api.template.functions[route.function].code)
            url = api.address + re.sub(r"\{[^}]*\}", "alice", route.path)
            terminal.say(request.curl(route.method, url, make_token("alice", api.environ)))
    if settings.database_url:
        terminal.say(f"Database: {place_of(settings.database_url)}")
    for text in in_force(settings):
        terminal.say(text)
    terminal.say(f"A page to try it on: {api.address}/")
    terminal.say(f"Ready on {api.address}")


@contextlib.asynccontextmanager
async def serving_api(
    settings: Settings,
    port: int,
    terminal: Terminal,
    *,
    shared: bool = False,
    answer: Page = page.answer,
) -> AsyncIterator[Api]:
    """Bring everything up in order, serve on `port` (0 takes a free one), and take it all down.

    With `shared`, the embedded Postgres of another process is used, too. `answer` responds on the
    paths that the template has no route for. Raise LocalError with one sentence when something is
    missing.
    """
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listener(port))
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        postgres = None
        if DATABASE in parse(settings.template).get("Parameters", {}):
            postgres = embedded_postgres(settings, terminal.say, shared=shared)
        runtime = Runtime(settings, terminal.say, terminal.function_line)
        environ = environ_with(settings, postgres)

        async def read() -> Template:
            found = read_template(settings.template, environ)
            await runtime.use(found.functions)
            return found

        live = Live(settings.template, read, complain=terminal.complain)
        template = await live.load()
        if postgres:
            stack.enter_context(postgres)
        stack.push_async_callback(runtime.close)  # before Postgres ends
        checked = asyncio.gather(*(_check(runtime, name) for name in _authorizers(template)))
        schema = None
        if MIGRATE in template.functions:
            apply = partial(_migrate, runtime, settings, postgres, terminal)
            folder = template.functions[MIGRATE].code
            schema = Live(folder, apply, complain=terminal.complain)
            await asyncio.gather(schema.load(), checked)
        await checked

        async def current() -> Template:
            if schema:
                await schema.current()
            return await live.current()

        gateway = Gateway(
            runtime,
            current,
            terminal,
            port=listener.getsockname()[1],
            page=lambda request: answer(request, environ),
        )
        await stack.enter_async_context(serving(gateway, listener, grace=_GRACE_SECONDS))
        yield Api(address, template, runtime, postgres, environ)


def _authorizers(template: Template) -> set[str]:
    return {route.authorizer.function for route in template.routes if route.authorizer}


async def _check(runtime: Runtime, authorizer: str) -> None:
    """Raise LocalError when an authorizer refuses its settings, by its own code."""
    try:
        await runtime.warm(authorizer)
    except InvocationError as failure:
        raise LocalError(f"{' '.join(str(failure).split())}.") from None


def _listener(port: int) -> socket.socket:
    """Take the port before anything else is touched."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise LocalError(
            f"Port {port} is taken by another program; stop it or choose another with PORT=..."
        ) from None


async def _migrate(
    runtime: Runtime, settings: Settings, postgres: Postgres | None, terminal: Terminal
) -> None:
    """Apply the schema with the function Migrate; raise LocalError when it cannot."""
    terminal.shows_functions = False  # an error here becomes one sentence
    try:
        await runtime.invoke(MIGRATE, b"{}")
    except InvocationError as failure:
        reason = " ".join(str(failure).split())
        database = "DATABASE_URL" if settings.database_url else "the embedded database"
        raise LocalError(f"The schema cannot be applied to {database}: {reason}") from None
    finally:
        terminal.shows_functions = True
    if postgres:
        await asyncio.to_thread(create_api_login, postgres)
