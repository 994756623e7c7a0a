"""Contract part 1: what the six operations do."""

import re
import uuid
from datetime import datetime
from typing import Any

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


# --- create ---


def test_create_answers_201_with_the_task_and_its_location(client: Client) -> None:
    response = client.send("POST", client.path(), json={"title": "Tea", "description": "Green"})
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    task = response.json()
    assert set(task) == MEMBERS
    assert (task["title"], task["description"]) == ("Tea", "Green")
    assert task["user_id"] == client.user
    assert task["completed"] is False
    assert str(uuid.UUID(task["id"])) == task["id"]
    assert _instant(task["created_at"]) == _instant(task["updated_at"])
    assert response.headers["location"] == client.path(task["id"])


def test_the_location_of_a_new_task_answers_with_that_task(client: Client) -> None:
    response = client.send("POST", client.path(), json={"title": "Tea"})
    assert client.send("GET", response.headers["location"]).json() == response.json()


def test_description_is_null_when_it_is_not_given_or_null(client: Client) -> None:
    assert client.create()["description"] is None
    assert client.create(description=None)["description"] is None
    assert client.create(description="")["description"] == ""


def test_the_title_is_trimmed_after_its_length_was_counted(client: Client) -> None:
    assert client.create(title="  Tea \n")["title"] == "Tea"
    assert client.create(title="x" * 500)["title"] == "x" * 500
    too_long_as_sent = client.send("POST", client.path(), json={"title": " " + "x" * 500})
    assert first_error(too_long_as_sent) == ("string_too_long", ["body", "title"])


def test_lengths_count_characters_not_bytes(client: Client) -> None:
    assert client.create(title="🍵" * 500)["title"] == "🍵" * 500
    assert client.create(description="é" * 5000)["description"] == "é" * 5000


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, ("missing", ["body", "title"])),
        ({"title": None}, ("string_type", ["body", "title"])),
        ({"title": ""}, ("string_too_short", ["body", "title"])),
        ({"title": " \t\n"}, ("string_too_short", ["body", "title"])),
        ({"title": "x" * 501}, ("string_too_long", ["body", "title"])),
        ({"title": 5}, ("string_type", ["body", "title"])),
        ({"title": ["x"]}, ("string_type", ["body", "title"])),
        ({"title": "x", "description": "y" * 5001}, ("string_too_long", ["body", "description"])),
        ({"title": "x", "description": 5}, ("string_type", ["body", "description"])),
        ({"title": "a\x00b"}, ("string_nul", ["body", "title"])),
        ({"title": "x", "description": "\x00"}, ("string_nul", ["body", "description"])),
    ],
)
def test_create_refuses_what_no_task_can_be(
    client: Client, body: dict[str, Any], error: tuple[str, list[str]]
) -> None:
    assert first_error(client.send("POST", client.path(), json=body)) == error
    assert client.titles() == []


def test_create_names_every_error_at_once(client: Client) -> None:
    response = client.send("POST", client.path(), json={"title": "", "description": 5})
    assert [error["loc"] for error in problem(response, 422)] == [
        ["body", "title"],
        ["body", "description"],
    ]


def test_create_ignores_members_that_are_not_the_clients_to_set(client: Client) -> None:
    theirs = {"id": str(uuid.uuid4()), "user_id": "mallory", "completed": True, "colour": "red"}
    task = client.create(**theirs)
    assert set(task) == MEMBERS
    assert task["id"] != theirs["id"]
    assert (task["user_id"], task["completed"]) == (client.user, False)


# --- list ---


def test_the_list_of_a_new_user_is_an_empty_array(client: Client) -> None:
    response = client.send("GET", client.path())
    assert (response.status_code, response.json()) == (200, [])
    assert response.headers["content-type"] == "application/json"


def test_the_list_is_in_the_order_of_creation(client: Client) -> None:
    tasks = [client.create(title=f"task {number}") for number in range(12)]
    client.send("PUT", client.path(tasks[3]["id"]), json={"title": "changed"})
    tasks[3] = client.send("GET", client.path(tasks[3]["id"])).json()
    assert client.send("GET", client.path()).json() == tasks


def test_the_list_holds_the_users_own_tasks_only(client: Client) -> None:
    other = client.other()
    other.create(title="theirs")
    client.create(title="mine")
    assert client.titles() == ["mine"]
    assert other.titles() == ["theirs"]


# --- get ---


def test_get_answers_with_the_task_as_it_was_created(client: Client) -> None:
    task = client.create(title="Tea", description="Green")
    response = client.send("GET", client.path(task["id"]))
    assert (response.status_code, response.json()) == (200, task)


@pytest.mark.parametrize(
    "form", ["{id}", "{hex}", "{upper}", "urn:uuid:{id}", "%7B{id}%7D", "{odd}"]
)
def test_a_task_id_may_be_written_in_any_form_that_pythons_uuid_takes(
    client: Client, form: str
) -> None:
    task = client.create()
    hexadecimal = task["id"].replace("-", "")
    written = form.format(
        id=task["id"],
        hex=hexadecimal,
        upper=task["id"].upper(),
        odd="-".join([hexadecimal[:3], hexadecimal[3:7], hexadecimal[7:]]),
    )
    assert client.send("GET", client.path(written)).json() == task


@pytest.mark.parametrize("written", ["1", "not-a-uuid", "0" * 31, "0" * 33, "%00", "null", "%F0"])
@pytest.mark.parametrize(
    ("method", "below"), [("GET", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "/complete")]
)
def test_another_task_id_is_422(client: Client, written: str, method: str, below: str) -> None:
    body = {"title": "x"} if method == "PUT" else None
    response = client.send(method, client.path(written) + below, json=body)
    assert first_error(response) == ("uuid_parsing", ["path", "task_id"])


# --- update ---


def test_update_changes_what_is_given_and_leaves_the_rest(client: Client) -> None:
    task = client.create(title="Tea", description="Green")
    response = client.send("PUT", client.path(task["id"]), json={"title": " Coffee "})
    changed = response.json()
    assert response.status_code == 200
    assert changed == task | {"title": "Coffee", "updated_at": changed["updated_at"]}
    assert _instant(changed["updated_at"]) > _instant(task["updated_at"])
    assert client.send("GET", client.path(task["id"])).json() == changed


def test_update_can_change_every_member_of_the_clients_at_once(client: Client) -> None:
    task = client.create()
    body = {"title": "Coffee", "description": "Black", "completed": True}
    changed = client.send("PUT", client.path(task["id"]), json=body).json()
    assert {name: changed[name] for name in body} == body


def test_null_changes_nothing_and_an_empty_description_clears_it(client: Client) -> None:
    task = client.create(title="Tea", description="Green")
    nulls = {"title": None, "description": None, "completed": None}
    unchanged = client.send("PUT", client.path(task["id"]), json=nulls).json()
    assert unchanged == task | {"updated_at": unchanged["updated_at"]}
    cleared = client.send("PUT", client.path(task["id"]), json={"description": ""}).json()
    assert cleared["description"] == ""


def test_an_empty_update_moves_updated_at_and_nothing_else(client: Client) -> None:
    task = client.create()
    response = client.send("PUT", client.path(task["id"]), json={})
    assert response.status_code == 200
    touched = response.json()
    assert _instant(touched["updated_at"]) > _instant(task["updated_at"])
    assert touched == task | {"updated_at": touched["updated_at"]}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (True, True),
        (1, True),
        (1.0, True),
        ("true", True),
        ("ON", True),
        ("yes", True),
        ("t", True),
        ("1", True),
        (False, False),
        (0, False),
        ("off", False),
        ("n", False),
    ],
)
def test_completed_is_read_as_pydantics_lax_mode_reads_a_boolean(
    client: Client, written: object, read: bool
) -> None:
    task = client.create()
    changed = client.send("PUT", client.path(task["id"]), json={"completed": written}).json()
    assert changed["completed"] is read


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"title": ""}, ("string_too_short", ["body", "title"])),
        ({"title": "  "}, ("string_too_short", ["body", "title"])),
        ({"title": "x" * 501}, ("string_too_long", ["body", "title"])),
        ({"title": "\x00"}, ("string_nul", ["body", "title"])),
        ({"description": "y" * 5001}, ("string_too_long", ["body", "description"])),
        ({"completed": "perhaps"}, ("bool_parsing", ["body", "completed"])),
        ({"completed": 2}, ("bool_parsing", ["body", "completed"])),
        ({"completed": []}, ("bool_type", ["body", "completed"])),
    ],
)
def test_update_refuses_what_no_task_can_be(
    client: Client, body: dict[str, Any], error: tuple[str, list[str]]
) -> None:
    task = client.create()
    assert first_error(client.send("PUT", client.path(task["id"]), json=body)) == error
    assert client.send("GET", client.path(task["id"])).json() == task


def test_update_ignores_members_that_are_not_the_clients_to_set(client: Client) -> None:
    task = client.create()
    theirs = {"id": str(uuid.uuid4()), "user_id": "mallory", "created_at": "2020-01-01T00:00:00Z"}
    changed = client.send("PUT", client.path(task["id"]), json=theirs).json()
    assert changed == task | {"updated_at": changed["updated_at"]}


def test_the_body_is_validated_before_the_task_is_looked_up(client: Client) -> None:
    missing = client.path(uuid.uuid4())
    assert first_error(client.send("PUT", missing, json={"title": ""}))[1] == ["body", "title"]
    assert problem(client.send("PUT", missing, json={"title": "x"}), 404) == "Task not found"


# --- toggle ---


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


# --- delete ---


def test_delete_answers_200_with_the_message_that_clients_parse(client: Client) -> None:
    task = client.create()
    response = client.send("DELETE", client.path(task["id"]))
    assert response.status_code == 200
    assert response.json() == {"message": "Task deleted successfully"}
    assert client.titles() == []


def test_a_second_delete_is_404(client: Client) -> None:
    path = client.path(client.create()["id"])
    assert client.send("DELETE", path).status_code == 200
    assert problem(client.send("DELETE", path), 404) == "Task not found"


# --- missing, or another user's ---


@pytest.mark.parametrize(
    ("method", "below"), [("GET", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "/complete")]
)
def test_a_missing_task_and_another_users_cannot_be_told_apart(
    client: Client, method: str, below: str
) -> None:
    theirs = client.other().create()
    body = {"title": "x"} if method == "PUT" else None
    answers = []
    for task_id in (theirs["id"], str(uuid.uuid4())):
        response = client.send(method, client.path(task_id) + below, json=body)
        assert problem(response, 404) == "Task not found"
        answers.append({k: v for k, v in response.json().items() if k != "instance"})
    assert answers[0] == answers[1]


def test_nobody_can_change_another_users_task(client: Client) -> None:
    other = client.other()
    task = other.create(title="theirs")
    client.send("PUT", client.path(task["id"]), json={"title": "mine now"})
    client.send("PATCH", client.path(task["id"], "complete"))
    client.send("DELETE", client.path(task["id"]))
    assert other.send("GET", other.path(task["id"])).json() == task


# --- user ids ---


@pytest.mark.parametrize(
    "user",
    [
        "a@b.c",
        "Ann B",
        "100%",
        "%41",
        "ü",
        "用户",
        "🍵",
        'quo"te',
        "back\\slash",
        "semi;colon",
        "a+b",
        "a?b#c",
        "{id}",
        "..",
        "tab\there",
        "'; DROP TABLE tasks; --",
        "x" * 255,
    ],
)
def test_a_user_id_is_any_text_up_to_255_characters(client: Client, user: str) -> None:
    user = user if len(user) == 255 else f"{user}-{uuid.uuid4()}"
    one = client.other(user)
    task = one.create()
    assert task["user_id"] == user
    assert one.send("GET", one.path()).json() == [task]
    assert one.send("DELETE", one.path(task["id"])).status_code == 200


@pytest.mark.parametrize("user", ["x" * 256, "a\x00b"])
def test_a_user_id_that_nobody_can_have_is_422(client: Client, user: str) -> None:
    response = client.send("GET", client.path(user=user))
    assert first_error(response)[1] == ["path", "user_id"]


def test_sql_in_a_text_stays_text(client: Client) -> None:
    text = "'); DELETE FROM tasks; -- %s %(id)s {0} \\"
    task = client.create(title=text, description=text)
    assert client.send("GET", client.path()).json() == [task]
    assert task["title"] == text
