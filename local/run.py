"""`make run`: everything up, in order, until it is told to end."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from contextlib import AsyncExitStack

from local.errors import LocalError
from local.gateway import Gateway, serving
from local.live import LiveTemplate
from local.settings import HOST, Settings
from local.stack import (
    DATABASE,
    MIGRATE,
    apply_schema,
    check_build,
    embedded_postgres,
    environ_with,
    functions_runtime,
    starting,
)
from local.template import Template, parameter_names
from local.terminal import Terminal
from local.token import make_token

_GRACE_SECONDS = 4.0


async def run(settings: Settings) -> int:
    """Serve the API until cancelled; raises LocalError when it cannot start."""
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_bind(settings.port))
        terminal = Terminal(settings.state / "logs")
        stack.callback(terminal.close)
        uses_database = DATABASE in parameter_names(settings.template)
        postgres = embedded_postgres(settings, terminal.say) if uses_database else None
        database_ready = await stack.enter_async_context(starting(postgres))
        runtime = await stack.enter_async_context(
            functions_runtime(settings, terminal.say, terminal.function_line)
        )
        environ = environ_with(settings, postgres)
        live = LiveTemplate(settings.template, environ, runtime, complain=terminal.complain)
        template = await live.load()
        check_build(settings, template.functions)
        await database_ready()
        if MIGRATE in template.functions:
            await apply_schema(runtime, settings, postgres)
        port = listener.getsockname()[1]
        gateway = Gateway(
            runtime,
            live.current,
            port=port,
            on_answer=terminal.answered,
            on_failure=terminal.complain,
        )
        await stack.enter_async_context(serving(gateway, listener, grace=_GRACE_SECONDS))
        _welcome(terminal, template, settings, port)
        await asyncio.Event().wait()
    return 0


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


def _welcome(terminal: Terminal, template: Template, settings: Settings, port: int) -> None:
    address = f"http://{HOST}:{port}"
    terminal.routes(template.routes)
    if any(route.path == "/docs" for route in template.routes):
        terminal.say(f"Documentation: {address}/docs")
    for route in template.routes:
        if route.method == "GET" and route.path and route.authorizer:
            path = re.sub(r"\{[^}]*\}", "alice", route.path)
            if route.path.count("{") < 2:
                token = make_token("alice", settings.environ)
                terminal.say(f'curl -H "Authorization: Bearer {token}" {address}{path}')
    terminal.say(f"Ready on {address}")
