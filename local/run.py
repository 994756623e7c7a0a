"""`make run`: the API, served until it is told to end."""

from __future__ import annotations

import asyncio
import re

from local.settings import Settings
from local.stack import Api, serving_api
from local.started import announced
from local.terminal import Terminal
from local.token import make_token


async def run(settings: Settings) -> int:
    """Serve the API until cancelled; raises LocalError when it cannot start."""
    terminal = Terminal(settings.state / "logs")
    try:
        async with serving_api(settings, settings.port, terminal) as api:
            with announced(settings, int(api.address.rpartition(":")[2])):
                _welcome(terminal, api)
                await asyncio.Event().wait()
    finally:
        terminal.close()
    return 0


def _welcome(terminal: Terminal, api: Api) -> None:
    routes = api.template.routes
    terminal.routes(routes)
    if any(route.path == "/docs" for route in routes):
        terminal.say(f"Documentation: {api.address}/docs")
    for route in routes:
        if route.method == "GET" and route.authorizer and (route.path or "").count("{") < 2:
            path = re.sub(r"\{[^}]*\}", "alice", route.path or "/")
            token = make_token("alice", api.environ)
            terminal.say(f'curl -H "Authorization: Bearer {token}" {api.address}{path}')
    terminal.say(f"A page to try it on: {api.address}/")
    terminal.say(f"Ready on {api.address}")
