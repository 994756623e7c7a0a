"""`make invoke` and `make events`: functions, once, with the events of events/.

An event's name begins with its function's name: `create_task_blank_title` is for CreateTask. The
rest of the name says whether the event is meant to fail.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any

import psycopg

from deploy.template import functions, parse, variable_name
from local.database import check_database
from local.errors import InvocationError, LocalError
from local.events import Request, Response
from local.postgres import Postgres
from local.settings import Settings
from local.stack import Api, serving_api
from local.terminal import GREEN, RED, Terminal, coloured
from local.token import make_token

_MEANT_TO_FAIL = re.compile(r"bad|blank|expired|invalid|malformed|not_|another|unsigned|without")
# A token with this in place of a signature is signed with the secret of the API at hand.
_UNSIGNED_TOKEN = re.compile(r"(?<=Bearer )[\w-]+\.[\w-]+\.signed-by-make-invoke(?=\")")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CLOUDFORMATION = "/local/cloudformation"
_STACK = """
<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
  <DescribeStacksResult><Stacks><member>
    <StackName>local</StackName>
    <StackStatus>UPDATE_COMPLETE</StackStatus>
    <CreationTime>2026-01-01T00:00:00Z</CreationTime>
  </member></Stacks></DescribeStacksResult>
</DescribeStacksResponse>
"""


def invoke(settings: Settings, function: str = "", given: str = "") -> Coroutine[Any, Any, int]:
    """Play one event to a function and print the result; return 1 when it failed.

    Raise LocalError when there is no such function or event.
    """
    path = find_event(settings, function, given)
    if not given:
        known = "\n  ".join(_names_of_events(settings, function))
        print(f"E=... is one of\n  {known}\nPlaying {path.name} ...", file=sys.stderr)
    check_database(settings)
    return _invoke(settings, function, path)


async def _invoke(settings: Settings, function: str, path: Path) -> int:
    async with _player(settings) as player:
        answer, failed = await player.play(function, path)
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    return int(failed)


def play_all(settings: Settings) -> Coroutine[Any, Any, int]:
    """Play every event of events/ and print a table; return 1 when one surprises.

    An event surprises when it fails and its name does not say so, or the other way around.
    """
    check_database(settings)
    return _play_all(settings)


async def _play_all(settings: Settings) -> int:
    surprises = 0
    async with _player(settings) as player:
        for path, function in _events(settings).items():
            start = time.perf_counter()
            answer, failed = await player.play(function, path)
            milliseconds = round((time.perf_counter() - start) * 1000)
            text, failed = _outcome(answer, failed=failed)
            is_expected = failed is bool(_MEANT_TO_FAIL.search(path.stem))
            surprises += not is_expected
            shown = coloured(text, GREEN if is_expected else RED, sys.stdout)
            print(f"{function:<12} {path.stem:<32} {milliseconds:>5} ms  {shown}", flush=True)
        await player.delete_tasks()
    return int(surprises > 0)


def find_event(settings: Settings, function: str, given: str) -> Path:
    """Return the event that was named, or the one that is named after the function.

    Raise LocalError with the functions' or the events' names when there is none, and when the
    event is not JSON.
    """
    known = functions(parse(settings.template))
    if function not in known:
        missing = f"template.yaml has no function {function}" if function else "Name a function"
        raise LocalError(f"{missing}: F=... is one of {', '.join(sorted(known))}.")
    path = Path(given or settings.root / "events" / f"{_snake_case(function)}.json")
    if not path.exists():
        listed = ", ".join(_names_of_events(settings, function)) or "none in events/"
        raise LocalError(f"There is no event {path}; {function} has {listed}.")
    _read(path)
    return path


def _events(settings: Settings) -> Mapping[Path, str]:
    """Return every event with its function, in the order of their names."""
    known = {_snake_case(name): name for name in functions(parse(settings.template))}
    events = {}
    for path in sorted((settings.root / "events").glob("*.json")):
        found = [name for name in known if f"{path.stem}_".startswith(f"{name}_")]
        if found:
            events[path] = known[max(found, key=len)]
    return events


def _names_of_events(settings: Settings, function: str) -> list[str]:
    """Return the events that E=... can name for a function."""
    events = _events(settings).items()
    return [str(path.relative_to(settings.root)) for path, name in events if name == function]


def _snake_case(function: str) -> str:
    """Return a function's logical id as its folder and its events are named."""
    return variable_name(function).lower()


class _Player:
    """Plays events to the functions of `api`, and stands in for CloudFormation.

    It takes the responses of custom resources, and knows one stack.
    """

    api: Api

    def __init__(self) -> None:
        self._response: Any = None
        self._deletions: list[dict[str, Any]] = []

    def answer(self, request: Request, _: Mapping[str, str]) -> Response | None:
        """Respond as CloudFormation to a function's request; None for every other request."""
        match request.method, request.path:
            case "POST", path if path.startswith(_CLOUDFORMATION):  # to describe the stack
                return Response(200, (("content-type", "text/xml"),), _STACK.encode())
            case "PUT", path if path.startswith(_CLOUDFORMATION):
                self._response = json.loads(request.body)
                return Response(200)
        return None

    async def play(self, function: str, path: Path) -> tuple[Any, bool]:
        """Return the function's result, or its error, and whether it failed."""
        event = _read(path, make_token("alice", self.api.environ))
        made = _insert_tasks(event, self.api.postgres) if self.api.postgres else []
        is_custom_resource = isinstance(event, dict) and "ResponseURL" in event
        self._response = None
        if is_custom_resource:
            event["ResponseURL"] = f"{self.api.address}{_CLOUDFORMATION}"
        try:
            answer = await self.api.runtime.invoke(function, json.dumps(event).encode())
        except InvocationError as failure:
            return failure.document(), True
        if is_custom_resource:
            response = self._response or {"Status": "FAILED", "Reason": "It sent no response"}
            return response, response["Status"] == "FAILED"
        result = json.loads(answer)
        for id_ in [*made, *_created(result)]:
            names = {**event["pathParameters"], "task_id": id_}
            self._deletions.append({**event, "pathParameters": names, "body": None})
        return result, False

    async def delete_tasks(self) -> None:
        """Delete the tasks that were made for the events, and by them."""
        for event in self._deletions:
            await self.api.runtime.invoke("DeleteTask", json.dumps(event).encode())


@contextlib.asynccontextmanager
async def _player(settings: Settings) -> AsyncIterator[_Player]:
    """Yield a player with the API on a port of its own; messages go to stderr."""
    player = _Player()
    with Terminal(settings, sys.stderr, quiet=True) as terminal:
        async with serving_api(
            settings, 0, terminal, shared=True, answer=player.answer
        ) as player.api:
            variables = {
                "API_URL": player.api.address,
                "AWS_ENDPOINT_URL_CLOUDFORMATION": f"{player.api.address}{_CLOUDFORMATION}",
            }
            functions = {
                name: dataclasses.replace(each, environment={**each.environment, **variables})
                for name, each in player.api.template.functions.items()
            }
            await player.api.runtime.use(functions)
            yield player


def _read(path: Path, token: str = "") -> Any:
    """Return an event, with a token where one waits to be signed; raise LocalError."""
    try:
        return json.loads(_UNSIGNED_TOKEN.sub(token, path.read_text()))
    except ValueError as error:
        raise LocalError(f"{path} is not JSON: {error}.") from None


def _insert_tasks(event: Any, postgres: Postgres) -> list[str]:
    """Insert the tasks that the event's path and body name, for the user of the path.

    Return the ids of those that were not there.
    """
    path = event.get("pathParameters", {}) if isinstance(event, dict) else {}
    named = _UUID.findall(f"{path.get('task_id')} {event.get('body')}") if path else []
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        insert = (
            "INSERT INTO tasks (user_id, id, title) VALUES (%s, %s, 'Made by make invoke')"
            " ON CONFLICT DO NOTHING"
        )
        return [id_ for id_ in named if connection.execute(insert, (path["user_id"], id_)).rowcount]


def _created(result: Any) -> list[str]:
    """Return the ids of the tasks that a request created, alone or in a batch."""
    status = result.get("statusCode") if isinstance(result, dict) else None
    if status not in (200, 201) or not result["headers"]["Content-Type"].endswith("json"):
        return []
    body = json.loads(result["body"])
    if status == 201:
        return [body["id"]]
    results = body.get("results", []) if isinstance(body, dict) else []
    return [each["task"]["id"] for each in results if each["status"] == 201]


def _outcome(answer: Any, *, failed: bool) -> tuple[str, bool]:
    """Return the outcome of an event in a few words, and whether it is a failure."""
    text = "ok"
    answer = answer if isinstance(answer, dict) else {}
    context = answer.get("context") or {}
    if failed:
        text = str(answer.get("errorMessage") or answer.get("Reason"))
    elif "statusCode" in answer:
        text = str(answer["statusCode"])
        failed = int(answer["statusCode"]) >= 400
    elif "refusal" in context:
        text, failed = str(context["refusal"]), True
    return " ".join(text.split()), failed
