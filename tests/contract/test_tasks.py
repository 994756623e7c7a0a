"""Contract part 1: what the six operations do."""

import re
import uuid
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.contract.client import Client, first_error, problem

MEMBERS = {
    "id",
    "user_id",
    "title",
    "description",
    "completed",
    "created_at",
    "updated_at",
}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def _instant(text: str) -> datetime:
    assert INSTANT.fullmatch(text)
    return datetime.fromisoformat(text)


by_id = pytest.mark.parametrize(
    ("method", "below"), [("GET", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "/complete")]
)


def _ask(client: Client, method: str, path: str) -> httpx.Response:
    return client.send(method, path, json={"title": "x"} if method == "PUT" else None)


# --- create, get, list ---


def test_a_new_task_is_answered_with_201_found_at_its_location_and_listed(client: Client) -> None:
    empty = client.send("GET", client.path())
    assert (empty.status_code, empty.json()) == (200, [])
    response = client.send("POST", client.path(), json={"title": "Tea", "description": "Green"})
    task = response.json()
    assert response.status_code == 201
    assert set(task) == MEMBERS
    assert (task["title"], task["description"]) == ("Tea", "Green")
    assert (task["user_id"], task["completed"]) == (client.user, False)
    assert str(uuid.UUID(task["id"])) == task["id"]
    assert uuid.UUID(task["id"]).version == 7
    assert _instant(task["created_at"]) == _instant(task["updated_at"])
    assert response.headers["location"] == client.path(task["id"])
    read = client.send("GET", response.headers["location"])
    assert (read.status_code, read.json()) == (200, task)
    assert client.send("GET", client.path()).json() == [task]
    assert {each.headers["content-type"] for each in (empty, response, read)} == {
        "application/json"
    }


def test_description_is_null_when_it_is_not_given_or_null(client: Client) -> None:
    assert client.create()["description"] is None
    assert client.create(description=None)["description"] is None
    assert client.create(description="")["description"] == ""


def test_the_title_is_trimmed_after_its_length_was_counted(client: Client) -> None:
    assert client.create(title="  Tea \n")["title"] == "Tea"
    assert client.create(title="x" * 500)["title"] == "x" * 500
    too_long_as_sent = client.send("POST", client.path(), json={"title": " " + "x" * 500})
    assert first_error(too_long_as_sent) == ("string_too_long", ["body", "title"])


@pytest.mark.parametrize("text", ["🍵", "é", "'); DELETE FROM tasks; -- %s %(id)s {0} \\"])
def test_a_text_comes_back_as_it_was_sent_and_its_length_counts_characters(
    client: Client, text: str
) -> None:
    title, description = (text * 500)[:500].strip(), (text * 5000)[:5000]
    task = client.create(title=title, description=description)
    assert client.send("GET", client.path()).json() == [task]
    assert (task["title"], task["description"]) == (title, description)


def test_the_list_holds_the_users_own_tasks_in_the_order_of_creation(client: Client) -> None:
    client.other().create(title="theirs")
    tasks = [client.create(title=f"task {number}") for number in range(12)]
    client.send("PUT", client.path(tasks[3]["id"]), json={"title": "changed"})
    tasks[3] = client.send("GET", client.path(tasks[3]["id"])).json()
    assert client.send("GET", client.path()).json() == tasks


# --- ids of tasks ---


@pytest.mark.parametrize(
    "form", ["{id}", "{hex}", "{upper}", "urn:uuid:{id}", "%7B{id}%7D", "{odd}"]
)
def test_a_task_id_may_be_written_in_any_form_that_pythons_uuid_takes(
    client: Client, form: str
) -> None:
    task = client.create()
    hexadecimal = task["id"].replace("-", "")
    odd = "-".join([hexadecimal[:3], hexadecimal[3:7], hexadecimal[7:]])
    written = form.format(id=task["id"], hex=hexadecimal, upper=task["id"].upper(), odd=odd)
    assert client.send("GET", client.path(written)).json() == task


@by_id
def test_another_task_id_is_422(client: Client, method: str, below: str) -> None:
    for written in ("not-a-uuid", "0" * 31, "%00", "%F0"):
        response = _ask(client, method, client.path(written) + below)
        assert first_error(response) == ("uuid_parsing", ["path", "task_id"])


@by_id
def test_a_missing_task_and_another_users_cannot_be_told_apart(
    client: Client, method: str, below: str
) -> None:
    other = client.other()
    theirs = other.create()
    answers = []
    for task_id in (theirs["id"], str(uuid.uuid4())):
        response = _ask(client, method, client.path(task_id) + below)
        assert problem(response, 404) == "Task not found"
        answers.append({k: v for k, v in response.json().items() if k != "instance"})
    assert answers[0] == answers[1]
    assert other.send("GET", other.path(theirs["id"])).json() == theirs


# --- what no task can be ---

EITHER = [
    ({"title": ""}, "string_too_short"),
    ({"title": " \t\n"}, "string_too_short"),
    ({"title": "\u200b\u3164 \ufe0f"}, "string_too_short"),
    ({"title": "x" * 501}, "string_too_long"),
    ({"title": 5}, "string_type"),
    ({"title": ["x"]}, "string_type"),
    ({"title": "a\x00b"}, "string_nul"),
    ({"description": "y" * 5001}, "string_too_long"),
    ({"description": 5}, "string_type"),
    ({"description": "\x00"}, "string_nul"),
]
REFUSED = [
    ("POST", {"title": None}, "string_type"),
    *(("POST", body, error) for body, error in EITHER),
    *(("PUT", body, error) for body, error in EITHER),
    ("PUT", {"completed": "perhaps"}, "bool_parsing"),
    ("PUT", {"completed": 2}, "bool_parsing"),
    ("PUT", {"completed": []}, "bool_type"),
]
"""Bodies with one bad member. A create gets a good title beside a bad description."""


@pytest.mark.parametrize(("method", "body", "error"), REFUSED)
def test_a_body_that_no_task_can_have_is_422_and_changes_nothing(
    client: Client, method: str, body: dict[str, Any], error: str
) -> None:
    task = client.create()
    path = client.path() if method == "POST" else client.path(task["id"])
    sent = {"title": "x"} | body if method == "POST" else body
    assert first_error(client.send(method, path, json=sent)) == (error, ["body", *body])
    assert client.send("GET", client.path()).json() == [task]


def test_every_error_is_named_at_once_the_body_last_as_fastapi_does(client: Client) -> None:
    missing = client.send("POST", client.path(), json={})
    assert first_error(missing) == ("missing", ["body", "title"])
    headers, body = {"Idempotency-Key": "not visible: é".encode()}, {"title": "", "description": 5}
    response = client.send("PUT", client.path("no-uuid"), headers=headers, json=body)
    assert [error["loc"] for error in problem(response, 422)] == [
        ["path", "task_id"],
        ["header", "idempotency-key"],
        ["body", "title"],
        ["body", "description"],
    ]


def test_the_body_is_validated_before_the_task_is_looked_up(client: Client) -> None:
    missing = client.path(uuid.uuid4())
    assert first_error(client.send("PUT", missing, json={"title": ""}))[1] == ["body", "title"]


def test_members_that_are_not_the_clients_to_set_are_ignored(client: Client) -> None:
    theirs = {"id": str(uuid.uuid4()), "user_id": "mallory", "created_at": "2020-01-01T00:00:00Z"}
    task = client.create(**theirs, completed=True, colour="red")
    assert set(task) == MEMBERS
    assert theirs.items().isdisjoint(task.items())
    assert task["completed"] is False
    changed = client.send("PUT", client.path(task["id"]), json=theirs).json()
    assert changed == task | {"updated_at": changed["updated_at"]}


# --- update, toggle, delete ---


@pytest.mark.parametrize(
    ("body", "change"),
    [
        ({}, {}),
        ({"title": None, "description": None, "completed": None}, {}),
        ({"title": " Coffee "}, {"title": "Coffee"}),
        ({"description": ""}, {"description": ""}),
        *[({"title": "C", "description": "Black", "completed": True},) * 2],
    ],
    ids=str,
)
def test_update_changes_what_is_given_and_not_null_and_moves_updated_at(
    client: Client, body: dict[str, Any], change: dict[str, Any]
) -> None:
    task = client.create(title="Tea", description="Green")
    response = client.send("PUT", client.path(task["id"]), json=body)
    changed = response.json()
    assert response.status_code == 200
    assert changed == task | change | {"updated_at": changed["updated_at"]}
    assert _instant(changed["updated_at"]) > _instant(task["updated_at"])
    assert client.send("GET", client.path(task["id"])).json() == changed


@pytest.mark.parametrize(
    ("read", "written"),
    [(True, [True, 1, 1.0, "true", "ON", "yes", "t", "1"]), (False, [False, 0, "off", "n"])],
)
def test_completed_is_read_as_pydantics_lax_mode_reads_a_boolean(
    client: Client, read: bool, written: list[object]
) -> None:
    path = client.path(client.create()["id"])
    for each in written:
        client.send("PUT", path, json={"completed": not read})
        assert client.send("PUT", path, json={"completed": each}).json()["completed"] is read


def test_toggle_flips_completed_and_moves_updated_at(client: Client) -> None:
    task = client.create()
    for completed in (True, False):
        response = client.send("PATCH", client.path(task["id"], "complete"))
        toggled = response.json()
        assert response.status_code == 200
        assert toggled == task | {"completed": completed, "updated_at": toggled["updated_at"]}
        assert _instant(toggled["updated_at"]) > _instant(task["updated_at"])
        task = toggled


@pytest.mark.parametrize("body", [b"{", b"\xff\x00", b'{"completed": false}', b"[" * 20_000])
def test_toggle_ignores_a_body(client: Client, body: bytes) -> None:
    task = client.create()
    response = client.send("PATCH", client.path(task["id"], "complete"), content=body)
    assert response.json()["completed"] is True


def test_delete_answers_200_with_the_message_that_clients_parse_and_then_404(
    client: Client,
) -> None:
    path = client.path(client.create()["id"])
    response = client.send("DELETE", path)
    assert response.status_code == 200
    assert response.json() == {"message": "Task deleted successfully"}
    assert client.titles() == []
    assert problem(client.send("DELETE", path), 404) == "Task not found"


# --- user ids ---

USERS = (
    "a@b.c|Ann B|100%|%41|用户|quo\"te\\slash|a+b|a?b#c;d|{id}|..|tab\there|'; DROP TABLE tasks; --"
)


@pytest.mark.parametrize("user", [*USERS.split("|"), "x" * 218])
def test_a_user_id_is_any_text_up_to_255_characters(client: Client, user: str) -> None:
    one = client.other(f"{user}-{uuid.uuid4()}")
    task = one.create()
    assert task["user_id"] == one.user
    assert one.send("GET", one.path()).json() == [task]
    assert one.send("DELETE", one.path(task["id"])).status_code == 200


@pytest.mark.parametrize("user", ["x" * 256, "a\x00b"])
def test_a_user_id_that_nobody_can_have_is_422(client: Client, user: str) -> None:
    response = client.send("GET", client.path(user=user))
    assert first_error(response)[1] == ["path", "user_id"]
