"""`make invoke` and `make migrate`: one function, once, with its answer on stdout."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path

from local.errors import InvocationFailed, LocalError
from local.settings import Settings
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
from local.template import read_template


async def migrate(settings: Settings) -> int:
    """Apply the schema to DATABASE_URL, or to the embedded database when that is not given."""
    return await _once(settings, MIGRATE, b"{}")


async def invoke(settings: Settings, name: str, event: Path) -> int:
    """Run the function on the event in this file; return 1 when it failed.

    Raises LocalError when there is no such function or event.
    """
    return await _once(settings, name, _read_event(event))


async def _once(settings: Settings, name: str, event: bytes) -> int:
    postgres = embedded_postgres(settings, _say)
    environ = environ_with(settings, postgres)
    template = await asyncio.to_thread(read_template, settings.template, environ)
    check_build(settings, template.functions)
    if name not in template.functions:
        known = ", ".join(sorted(template.functions))
        raise LocalError(f"template.yaml has no function {name}; it has {known}.")
    needs_start = (
        postgres is not None
        and DATABASE in template.functions[name].parameters
        and not postgres.is_running()
    )
    async with AsyncExitStack() as stack:
        database_ready = await stack.enter_async_context(
            starting(postgres if needs_start else None)
        )
        runtime = await stack.enter_async_context(functions_runtime(settings, _say, _log))
        await runtime.use(template.functions)
        await database_ready()
        if needs_start and name != MIGRATE and MIGRATE in template.functions:
            await apply_schema(runtime, settings, postgres)
        if name == MIGRATE:
            return await _answer(apply_schema(runtime, settings, postgres))
        return await _answer(runtime.invoke(name, event))


async def _answer(work: Awaitable[bytes]) -> int:
    try:
        answer, status = json.loads(await work), 0
    except InvocationFailed as failure:
        answer, status = failure.document(), 1
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    return status


def _read_event(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        json.loads(content)
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise LocalError(f"{path} is not JSON: {error}.") from None
    return content


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _log(_: str, line: str) -> None:
    _say(line)
