"""`make invoke`, `make events` and `make migrate`: functions, once, with recorded events."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from local.aws import StandIn, aws_stand_in
from local.errors import InvocationError
from local.recorded import (
    events_of,
    find_event,
    insert_task,
    names_of_events,
    outcome,
    read_event,
    signed,
)
from local.settings import Settings
from local.stack import Api, serving_api
from local.template import function_names
from local.terminal import Terminal, coloured

_RED, _GREEN = "31", "32"


async def migrate(settings: Settings) -> int:
    """Apply the schema to DATABASE_URL, or to the embedded database, and print what was done.

    Raises LocalError when it cannot be applied.
    """
    async with _api(settings) as (api, _):
        print(json.dumps(api.migrated, indent=2))
    return 0


async def invoke(settings: Settings, name: str, given: str | None) -> int:
    """Play one event to a function and print the answer; return 1 when it failed.

    Raises LocalError when there is no such function or event.
    """
    names = _names(settings)
    path = find_event(settings.root, names, name, given)
    event = read_event(path)
    if not given:
        known = "\n  ".join(names_of_events(settings.root, names, name))
        print(f"E=... is one of\n  {known}\nPlaying {path.name} ...", file=sys.stderr)
    async with _api(settings) as (api, aws):
        answer, failed = await _play(api, aws, name, event)
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    return int(failed)


async def play_all(settings: Settings) -> int:
    """Play every event of events/ and print a table; return 1 when one surprises.

    An event surprises when it fails and its name does not say so, or the other way around.
    """
    surprises = 0
    async with _api(settings) as (api, aws):
        for function, path in events_of(settings.root, _names(settings)):
            start = time.perf_counter()
            answer, failed = await _play(api, aws, function, read_event(path))
            milliseconds = round((time.perf_counter() - start) * 1000)
            result = outcome(path.stem, answer, failed=failed)
            surprises += not result.is_expected
            shown = coloured(result.text, _GREEN if result.is_expected else _RED, sys.stdout)
            print(f"{function:<12} {path.stem:<32} {milliseconds:>5} ms  {shown}", flush=True)
    return int(surprises > 0)


@contextlib.asynccontextmanager
async def _api(settings: Settings) -> AsyncIterator[tuple[Api, StandIn]]:
    """Give the API on a port of its own; all that is said of it goes to stderr."""
    terminal = Terminal(settings.state / "logs", sys.stderr, quiet=True)
    try:
        async with (
            serving_api(settings, 0, terminal, shares_database=True) as api,
            aws_stand_in(api.address) as aws,
        ):
            await api.runtime.use(
                {
                    name: dataclasses.replace(
                        each, environment={**each.environment, **aws.variables}
                    )
                    for name, each in api.template.functions.items()
                }
            )
            yield api, aws
    finally:
        terminal.close()


async def _play(api: Api, aws: StandIn, name: str, event: Any) -> tuple[Any, bool]:
    """Return the function's answer, or its error, and whether it failed."""
    event = signed(event, api.environ)
    if api.postgres:
        insert_task(event, api.postgres)
    is_custom_resource = isinstance(event, dict) and "ResponseURL" in event
    if is_custom_resource:
        event["ResponseURL"] = f"{aws.url}/response"
        event["ResourceProperties"]["ApiUrl"] = api.address
    try:
        answer = json.loads(await api.runtime.invoke(name, json.dumps(event).encode()))
    except InvocationError as failure:
        return failure.document(), True
    if is_custom_resource:
        answer = aws.received[-1]  # what CloudFormation was told
    return answer, isinstance(answer, dict) and answer.get("Status") == "FAILED"


def _names(settings: Settings) -> set[str]:
    return function_names(settings.template)
