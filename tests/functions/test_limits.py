"""The limits for a user who asks for too much; none of them counts as our failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tasks.database import lock_number
from tasks.settings import settings
from tests.functions.handlers import TASK, TASKS, Context, event, handler, recorded


@pytest.fixture(autouse=True)
def low_limits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Set limits of two tasks and two keys for each user, and of little time for a list."""
    monkeypatch.setenv("MAX_TASKS_PER_USER", "2")
    monkeypatch.setenv("MAX_KEYS_PER_USER", "2")
    monkeypatch.setenv("LIST_TIMEOUT", "0.2")
    settings.cache_clear()
    handler("health")(recorded("health"), Context())  # opens the connection
    capsys.readouterr()
    yield
    settings.cache_clear()


def ask(
    function: str, request: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the response, and the request's line with its metrics."""
    answer = handler(function)(request, Context())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (line,) = [line for line in lines if "_aws" in line]
    return answer, line


def create(user: str, key: str | None = None) -> dict[str, Any]:
    request = event("POST", TASKS, user=user, body={"title": "one more"})
    request["headers"] |= {"idempotency-key": key} if key else {}
    return request


def test_a_list_that_takes_too_long_is_503_too_slow_and_no_failure_of_ours(
    user: str, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        answer, line = ask("list_tasks", event("GET", TASKS, user=user), capsys)
        still_there = holder.execute(
            "SELECT query FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state = 'active'"
        ).fetchall()
    assert still_there == []
    assert answer["statusCode"] == 503
    assert json.loads(answer["body"])["type"] == "/problems/too-slow"
    assert int(answer["headers"]["Retry-After"]) >= 1
    assert (line["status"], line["Errors"]) == (503, [0])
    assert "Unavailable" not in line


def test_beyond_the_lists_at_once_a_list_is_429_and_no_failure_of_ours(
    user: str, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [lock_number(user, "list") ^ n for n in range(settings().max_lists_per_user)]
    request = event("GET", TASKS, user=user)
    with psycopg.connect(database_url) as others:
        others.execute("SELECT pg_advisory_xact_lock(place) FROM unnest(%s) AS place", (places,))
        answer, line = ask("list_tasks", request, capsys)
    assert answer["statusCode"] == 429
    assert json.loads(answer["body"])["type"] == "/problems/too-many-lists"
    assert int(answer["headers"]["Retry-After"]) >= 1
    assert (line["status"], line["Errors"], line["RoundTrips"]) == (429, [0], [1])
    assert ask("list_tasks", request, capsys)[0]["statusCode"] == 200


def quota_exceeded(answer: dict[str, Any], line: dict[str, Any]) -> str:
    """Check a refusal for a quota, and return its detail."""
    problem = json.loads(answer["body"])
    assert (answer["statusCode"], problem["type"]) == (403, "/problems/quota-exceeded")
    assert (line["status"], line["Errors"], line["RoundTrips"]) == (403, [0], [1])
    return str(problem["detail"])


def test_beyond_a_quota_a_write_is_403_quota_exceeded_in_one_round_trip(
    user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task, _ = [json.loads(ask("create_task", create(user), capsys)[0]["body"]) for _ in range(2)]
    for key in (None, str(uuid4())):
        detail = quota_exceeded(*ask("create_task", create(user, key), capsys))
        assert detail.startswith("You have 2 tasks")
    operations = [{"op": "create", "task": {"title": "one more"}}]
    batch = event("POST", f"{TASKS}/batch", user=user, body={"operations": operations})
    assert quota_exceeded(*ask("batch_tasks", batch, capsys)).startswith("You have 2 tasks")
    toggle = event("PATCH", f"{TASK}/complete", user=user, task_id=task["id"])
    keyed = [toggle | {"headers": {"idempotency-key": str(uuid4())}} for _ in range(3)]
    *done, refused = [ask("toggle_task", each, capsys) for each in keyed]
    assert [answer["statusCode"] for answer, _ in done] == [200, 200]
    assert "keys" in quota_exceeded(*refused)
    assert ask("toggle_task", toggle, capsys)[0]["statusCode"] == 200


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (403, {"pathParameters": {"user_id": "somebody else"}}),
        (404, {}),
        (412, {"headers": {"if-match": '"1"'}}),
        (422, {"body": "{"}),
    ],
)
def test_no_refusal_is_counted_as_a_failure(
    status: int, change: dict[str, Any], user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = json.loads(ask("create_task", create(user), capsys)[0]["body"])
    id_ = str(uuid4()) if status == 404 else task["id"]
    request = event("PUT", TASK, user=user, task_id=id_, body={"title": "y"})
    answer, line = ask("update_task", request | change, capsys)
    assert answer["statusCode"] == status
    assert (line["status"], line["Errors"]) == (status, [0])
