"""Contract part 3, many at once: one request, all of its operations or none."""

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.contract.client import Client, first_error, problem

LONGEST = {"title": "t" * 500, "description": "d" * 5000}


def create(**task: Any) -> dict[str, Any]:
    return {"op": "create", "task": {"title": "A task"} | task}


def operation(op: str, id_: object, **members: Any) -> dict[str, Any]:
    return {"op": op, "id": str(id_), **members}


def send(client: Client, *operations: Any, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"operations": operations}
    return client.send("POST", client.path("batch"), json=body, headers=named)


def refused(response: httpx.Response, status: int) -> int:
    """Check that the response is the problem of one operation, and return which."""
    assert problem(response, status)
    place: int = response.json()["operation"]
    return place


def test_each_operation_has_the_result_of_its_own_route(client: Client) -> None:
    one, two = client.create(title="one"), client.create(title="two")
    response = send(
        client,
        create(title=" new ", description="x", completed=True, id=str(uuid.uuid4())),
        operation("update", one["id"], task={"title": "uno", "description": ""}, note="ignored"),
        operation("toggle", one["id"].upper().replace("-", "")),
        operation("delete", two["id"], if_match="*"),
    )
    assert (response.status_code, list(response.json())) == (200, ["results"])
    new, updated, toggled, deleted = response.json()["results"]
    assert [new["status"], updated["status"], toggled["status"]] == [201, 200, 200]
    assert (new["task"]["title"], new["task"]["completed"]) == ("new", False)
    assert (updated["task"]["title"], updated["task"]["description"]) == ("uno", "")
    assert (toggled["task"]["title"], toggled["task"]["completed"]) == ("uno", True)
    assert deleted == {"status": 200, "task": None, "etag": None}
    for result in (new, toggled):
        read = client.send("GET", client.path(result["task"]["id"]))
        assert read.json() == result["task"]
        assert read.headers["etag"] == result["etag"]
    assert updated["etag"] != toggled["etag"]
    assert client.titles() == ["uno", "new"]


@pytest.mark.parametrize("op", ["update", "toggle", "delete"])
def test_if_match_is_what_the_header_would_hold(client: Client, op: str) -> None:
    def refuses(wanted: str) -> bool:
        change = operation(op, task_id, if_match=wanted, task={"title": "y"})
        response = send(client, create(), change)
        return response.status_code == 412 and refused(response, 412) == 1

    created = client.send("POST", client.path(), json={"title": "x"})
    task_id, old = created.json()["id"], created.headers["etag"]
    current = client.send("PUT", client.path(task_id), json={}).headers["etag"]
    for stale in (old, f"W/{current}", "nonsense", "", f'{old}, "x"', current.strip('"')):
        assert refuses(stale), stale
    assert client.titles() == ["x"]
    assert not refuses(f"{old}, {current}")


def test_the_first_operation_that_cannot_be_done_is_the_answer_and_nothing_has_changed(
    client: Client,
) -> None:
    mine, other = client.create(title="mine"), client.other()
    theirs = other.create(title="theirs")
    rename = operation("update", mine["id"], task={"title": "changed"})
    for missing in (uuid.uuid4(), theirs["id"]):
        for op in ("update", "toggle", "delete"):
            response = send(client, create(), rename, operation(op, missing, task={}), create())
            assert refused(response, 404) == 2
            assert response.json()["detail"] == "Task not found"
    delete = operation("delete", mine["id"])
    assert refused(send(client, delete, operation("toggle", mine["id"])), 404) == 1
    assert client.send("GET", client.path()).json() == [mine]
    assert other.send("GET", other.path()).json() == [theirs]


@pytest.mark.parametrize(
    ("operations", "type_", "loc"),
    [
        ([], "too_short", []),
        ([create()] * 51, "too_long", []),
        ({}, "list_type", []),
        ([create(), {}], "missing", [1, "op"]),
        ([create(), {"op": "purge"}], "literal_error", [1, "op"]),
        ([create(), 5], "dict_type", [1]),
        ([{"op": "create"}], "missing", [0, "task"]),
        ([create()] * 3 + [create(title=" ")], "string_too_short", [3, "task", "title"]),
        ([create(description="x" * 5001)], "string_too_long", [0, "task", "description"]),
        ([create(title="\0")], "string_nul", [0, "task", "title"]),
        ([operation("delete", "batch")], "uuid_parsing", [0, "id"]),
        ([{"op": "toggle"}], "missing", [0, "id"]),
        ([operation("update", uuid.uuid4())], "missing", [0, "task"]),
        (
            [operation("update", uuid.uuid4(), task={"completed": "perhaps"})],
            "bool_parsing",
            [0, "task", "completed"],
        ),
        ([operation("toggle", uuid.uuid4(), if_match=5)], "string_type", [0, "if_match"]),
    ],
)
def test_an_error_names_its_place_in_the_body(
    client: Client, operations: Any, type_: str, loc: list[Any]
) -> None:
    response = client.send("POST", client.path("batch"), json={"operations": operations})
    assert first_error(response) == (type_, ["body", "operations", *loc])
    assert client.titles() == []


def test_every_error_of_a_batch_is_listed(client: Client) -> None:
    detail = problem(send(client, create(title=""), create(), {"op": "x"}), 422)
    assert [each["loc"][2] for each in detail] == [0, 2]


def test_batch_is_no_id_of_a_task(client: Client) -> None:
    for method in ("GET", "PUT", "DELETE"):
        body = {"title": "x"} if method == "PUT" else None
        response = client.send(method, client.path("batch"), json=body)
        assert first_error(response) == ("uuid_parsing", ["path", "task_id"])


def test_fifty_tasks_with_the_longest_texts_are_created_and_changed_at_once(
    client: Client,
) -> None:
    created = send(client, *[create(**LONGEST)] * 50).json()["results"]
    assert len(client.titles()) == 50
    toggles = [operation("toggle", each["task"]["id"], if_match=each["etag"]) for each in created]
    results = send(client, *toggles).json()["results"]
    assert all(each["task"]["completed"] for each in results)


def test_a_replay_is_answered_as_the_first_until_a_task_is_deleted(client: Client) -> None:
    one = client.create(title="one")
    operations = [create(title="new"), operation("toggle", one["id"])]
    first, again = (send(client, *operations, Idempotency_Key="one") for _ in range(2))
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    client.send("DELETE", client.path(one["id"]))
    left = send(client, *operations, Idempotency_Key="one")
    new, _ = first.json()["results"]
    assert left.json() == {"results": [new, {"status": 200, "task": None, "etag": None}]}
    assert client.titles() == ["new"]
    other = send(client, operations[0], Idempotency_Key="one")
    assert first_error(other) == ("idempotency_key_reused", ["header", "idempotency-key"])


def test_a_batch_larger_than_a_megabyte_is_413(client: Client) -> None:
    longest = {"title": "🍵" * 500, "description": "🍵" * 5000}
    body = json.dumps({"operations": [create(**longest)] * 50}, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json"}
    response = client.send("POST", client.path("batch"), content=body, headers=headers)
    assert problem(response, 413)
    assert client.titles() == []
