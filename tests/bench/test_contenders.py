"""Every contender of the benchmark does the same work: the same answers, with the same security."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from bench import databases
from bench.contenders import NAMES, OURS, Contender
from bench.contract import MEMBERS, OPERATIONS, event
from bench.databases import Databases, database_of
from bench.environment import Environment

pytestmark = pytest.mark.campaign

HIDDEN = "Hidden by a policy"
Invoke = Callable[..., dict[str, Any]]
Story = list[tuple[str, int, Any]]


@pytest.fixture(scope="module")
def invoke(built: dict[str, Contender], started: Databases) -> Iterator[Invoke]:
    """Send a request to a contender, whose process is started by its first one."""
    for database, role in ((databases.PRODUCT, "task_api"), (databases.RIVALS, "rival_api")):
        started.server.admin(f"ALTER DATABASE {database} SET timezone = 'Asia/Kolkata'")
        with started.owner(database) as connection:
            connection.execute(
                f"CREATE POLICY hidden ON tasks AS RESTRICTIVE TO {role}"
                f" USING (title <> '{HIDDEN}')".encode()
            )
    running: dict[str, Environment] = {}
    with ExitStack() as stack:

        def invoke(name: str, operation: str, *arguments: Any, **more: Any) -> dict[str, Any]:
            command = built[name].command(operation, started.local.url(name))
            key = f"{command.folder} {command.arguments}"  # one handler may serve all operations
            if key not in running:
                running[key] = stack.enter_context(Environment(command))
            sent = json.dumps(event(operation, *arguments, **more)).encode()
            answer: dict[str, Any] = json.loads(running[key].invoke(sent)[1])
            return answer

        yield invoke


def _story(invoke: Invoke, user: str) -> Story:
    """What a client does with tasks, right and wrong: each step, its status, and its answer."""
    known: dict[str, str] = {user: "USER"}
    told: Story = []

    def step(what: str, operation: str, task: str = "", **more: Any) -> Any:
        answer = invoke(operation, more.pop("user", user), task, **more)
        body = json.loads(answer["body"])
        told.append((what, answer["statusCode"], _comparable(body, known)))
        return body

    step("nothing yet", "list_tasks")
    milk = step("create", "create_task", body={"title": "  Milk ", "description": "Two"})["id"]
    tea = step("create a bare one", "create_task", body={"title": "Tee 🍵"})["id"]
    for title in ("   ", "x" * 501, "a\0b", 7, None):
        step(f"create {title!r:.9}", "create_task", body={"title": title})
    step("create without a title", "create_task", body={})
    step("create with too much", "create_task", body={"title": "x", "description": "x" * 5001})
    step("create with a list", "create_task", body=[1])
    step("list", "list_tasks")
    step("get", "get_task", milk)
    step("rename", "update_task", milk, body={"title": "Oat milk"})
    step("complete", "update_task", milk, body={"completed": True, "title": None})
    step("clear", "update_task", milk, body={"description": ""})
    step("change nothing", "update_task", tea, body={})
    step("update to a blank title", "update_task", milk, body={"title": " "})
    step("toggle", "toggle_task", milk)
    step("toggle back", "toggle_task", milk)
    step("delete", "delete_task", milk)
    step("list what is left", "list_tasks")
    for operation in ("get_task", "update_task", "toggle_task", "delete_task"):
        step(f"{operation}: gone", operation, milk)
        step(f"{operation}: no id", operation, "milk")
        step(f"{operation}: another user's", operation, tea, user=f"{user}-2")
    for operation in OPERATIONS:
        step(f"{operation}: another user's path", operation, tea, sub="somebody else")
        step(f"{operation}: expired", operation, tea, exp="1")
    step("nothing has happened to it", "get_task", tea)
    return told


def _comparable(body: Any, known: dict[str, str]) -> Any:
    """Return the part of a body that must be equal: contract members, numbered ids, near times.

    Of an error only its place counts, because each stack has its own words.
    """
    if isinstance(body, list):
        return [_comparable(each, known) for each in body]
    if "detail" in body:
        detail = body["detail"]
        return detail[0]["loc"][0] if isinstance(detail, list) else None
    if "id" not in body:
        return body
    known.setdefault(body["id"], f"task {len(known)}")
    created, updated = body["created_at"], body["updated_at"]
    return {member: body[member] for member in MEMBERS} | {
        "id": known[body["id"]],
        "user_id": known[body["user_id"]],
        "created_at": _is_now(created),
        "updated_at": [_is_now(updated), created < updated],
    }


def _is_now(text: str) -> bool:
    """Tell whether it is the time of this test, in UTC with the letter for it."""
    age = datetime.now(UTC) - datetime.fromisoformat(text)
    return text.endswith("Z") and abs(age) < timedelta(minutes=5)


@pytest.fixture(scope="module")
def ours(invoke: Invoke) -> Story:
    """The story as our API tells it."""
    return _story(partial(invoke, OURS), f"user-{uuid4()}")


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_rival_answers_as_our_api_does(name: str, invoke: Invoke, ours: Story) -> None:
    assert _story(partial(invoke, name), f"user-{uuid4()}") == ours


@pytest.mark.parametrize("name", NAMES)
def test_a_contender_is_bound_by_row_level_security(
    name: str, invoke: Invoke, started: Databases
) -> None:
    user = f"user-{uuid4()}"
    seen, hidden = started.add_tasks(database_of(name), user, 2)
    with started.owner(database_of(name)) as connection:
        connection.execute("UPDATE tasks SET title = %s WHERE id = %s", [HIDDEN, hidden])
    listed = json.loads(invoke(name, "list_tasks", user)["body"])
    assert [each["id"] for each in listed] == [seen]
    for operation in ("get_task", "toggle_task", "delete_task", "update_task"):
        assert invoke(name, operation, user, hidden)["statusCode"] == 404
