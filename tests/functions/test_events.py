"""Every event of events/ gets the expected response from its function."""

import json
from typing import Any

import psycopg
import pytest

from tests.functions.handlers import EVENTS, Context, handler, recorded
from tests.routes import FUNCTIONS, ROUTES

TASK_ID = "019a9f3c-5b1e-7c64-8f0a-3f1d2b7c9e55"
REFUSED = {
    "create_task_blank_title": 422,
    "create_task_malformed": 422,
    "create_task_not_json": 415,
    "create_task_not_utf8": 422,
    "create_task_without_body": 422,
    "get_task_bad_id": 422,
    "list_tasks_expired": 401,
    "list_tasks_of_another_user": 403,
    "list_tasks_with_a_bad_token": 401,
    "list_tasks_without_identity": 401,
    "update_task_invalid": 422,
}
"""The events that an endpoint refuses; every other one succeeds."""

AUTHORIZER = {
    "authorizer": "The token is not valid",
    "authorizer_bad_signature": "The token is not valid",
    "authorizer_not_a_bearer": "Send the token as: Authorization: Bearer <JWT>",
    "authorizer_unsigned_token": "The token is not valid",
}

# These need a response from the world outside as well; tests/functions/test_custom_resource.py and
# tests/deploy/test_smoke.py send them.
ELSEWHERE = {
    "migrate",
    "migrate_create",
    "migrate_delete",
    "migrate_purge",
    "migrate_rollback",
    "migrate_update",
    "smoke",
    "smoke_deployment",
}


STATUS = {
    path.stem: REFUSED.get(path.stem, 200)
    for path in sorted(EVENTS.glob("*.json"))
    if path.stem not in {*AUTHORIZER, *ELSEWHERE}
}
"""The status of every endpoint's event; a success may be 201, too."""


def function_of(name: str) -> str:
    """Return the folder of the function that an event is for."""
    folders = sorted((p.parent.name for p in EVENTS.parent.glob("functions/*/app.py")), key=len)
    return next(folder for folder in reversed(folders) if name.startswith(folder))


def assert_expected(name: str, answer: dict[str, Any]) -> None:
    """Check what every response to this event has to be, however its function is run."""
    if name in AUTHORIZER:
        assert answer == {"isAuthorized": True, "context": {"refusal": AUTHORIZER[name]}}
    elif name == "migrate":
        assert answer["applied"] == []
        assert answer["version"] >= 1
    elif name == "migrate_purge":
        assert answer["purged"] >= 0
    else:
        expected = STATUS[name]
        assert answer["statusCode"] in ({200, 201} if expected == 200 else {expected})
        if answer["statusCode"] >= 400:
            assert json.loads(answer["body"])["status"] == expected


def insert_alices_task(database_url: str) -> None:
    """Store the task that the events name as alice's only one."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM tasks WHERE user_id = 'alice'")
        connection.execute(
            "INSERT INTO tasks (user_id, id, title, description) VALUES ('alice', %s, 'Tea', 'x')",
            (TASK_ID,),
        )


@pytest.fixture
def alices_task(database_url: str) -> None:
    """Insert the task that the events name."""
    insert_alices_task(database_url)


def test_every_function_and_every_route_has_an_event_in_events() -> None:
    names = {path.stem for path in EVENTS.glob("*.json")}
    assert {*REFUSED, *AUTHORIZER, *ELSEWHERE} <= names, "a table names an event that is missing"
    assert {function_of(name) for name in names} == set(FUNCTIONS.values()), "events/"
    sent = {recorded(name)["routeKey"] for name in STATUS}
    assert sent == {route.key for route in ROUTES}, "events/"


@pytest.mark.usefixtures("alices_task")
@pytest.mark.parametrize("name", [*STATUS, *AUTHORIZER, "migrate", "migrate_purge"])
def test_an_event_gets_the_expected_response(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "a-secret-of-the-tests-with-32-bytes")
    answer = handler(function_of(name))(recorded(name), Context())
    assert_expected(name, answer)
    json.dumps(answer)  # Lambda has to be able to return it
