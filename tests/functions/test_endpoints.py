"""What `web.endpoint` promises for every function, whatever event reaches it."""

import io
import json
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from neon import ConflictError
from observability import logger
from tasks import store
from tasks.database import database
from tests.functions.handlers import TASK, TASKS, Context, event, handler, recorded
from web.endpoint import endpoint
from web.response import Response

SECRET_TEXT = "a title that no log may hold"


@pytest.fixture
def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], list[dict[str, Any]]]:
    """Return what the handlers have logged and printed so far, by line."""
    logged = io.StringIO()
    for each in logger.handlers:
        monkeypatch.setattr(each, "stream", logged)
    handler("docs")(recorded("docs"), Context())  # the first invocation writes an additional line
    capsys.readouterr()

    def lines() -> list[dict[str, Any]]:
        text = logged.getvalue() + capsys.readouterr().out
        return [json.loads(line) for line in text.splitlines()]

    return lines


def _detail(answer: dict[str, Any]) -> Any:
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    return json.loads(answer["body"])["detail"]


# --- events ---


def test_a_closed_endpoint_without_an_owner_cannot_be_declared() -> None:
    def of_nobody() -> Response[Any]:
        raise AssertionError("it was called")

    with pytest.raises(
        TypeError, match=r"GET /x is not public, so its path has to have a \{user_id\}"
    ):
        endpoint("GET", "/x", operation="x", summary="X")(of_nobody)


@pytest.mark.parametrize("odd", [None, {"version": "1.0", "httpMethod": "GET"}])
def test_an_event_of_another_shape_is_nobodys_request(odd: Any) -> None:
    assert handler("list_tasks")(odd, Context())["statusCode"] == 401


def test_a_body_that_is_no_base64_is_422(user: str) -> None:
    request = event("POST", TASKS, user=user, body={}) | {"body": "%%%", "isBase64Encoded": True}
    answer = handler("create_task")(request, Context())
    assert (answer["statusCode"], _detail(answer)[0]["type"]) == (422, "json_invalid")


# --- logs ---


def test_the_line_of_a_request_names_its_trace_and_nothing_that_it_said(
    user: str, monkeypatch: pytest.MonkeyPatch, printed: Callable[[], list[dict[str, Any]]]
) -> None:
    trace = "1-6920367a-1c0f3f0d5a7b4e2f9d8c6b5a"
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root={trace};Parent=1c0f3f0d5a7b4e2f;Sampled=1")
    context = Context()
    request = event("POST", TASKS, user=user, body={"title": SECRET_TEXT})
    request["headers"]["authorization"] = "Bearer secret-token"
    handler("create_task")(request, context)
    lines = printed()
    assert SECRET_TEXT not in str(lines)
    assert "secret-token" not in str(lines)
    line, _connect = lines
    assert (line["message"], line["route"], line["status"]) == ("request", f"POST {TASKS}", 201)
    assert line["function_request_id"] == context.aws_request_id
    assert line["xray_trace_id"] == trace


def test_an_unforeseen_error_is_a_bare_500_and_the_log_has_it_all(
    user: str, monkeypatch: pytest.MonkeyPatch, printed: Callable[[], list[dict[str, Any]]]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("SELECT secret FROM inside")

    monkeypatch.setattr(store, "list_page", broken)
    context = Context()
    answer = handler("list_tasks")(event("GET", TASKS, user=user), context)
    assert answer["statusCode"] == 500
    assert "SELECT" not in answer["body"]
    assert json.loads(answer["body"])["instance"] == context.aws_request_id
    (error,) = [line for line in printed() if line.get("level") == "ERROR"]
    assert "SELECT secret FROM inside" in error["exception"]
    assert error["function_request_id"] == context.aws_request_id


# --- the database fails ---


def test_a_database_that_cannot_be_reached_is_503_with_retry_after_and_counted_as_unavailable(
    user: str, monkeypatch: pytest.MonkeyPatch, printed: Callable[[], list[dict[str, Any]]]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://someone:hush@127.0.0.1:1/tasks")
    database.cache_clear()
    for name, request in (
        ("list_tasks", event("GET", TASKS, user=user)),
        ("create_task", event("POST", TASKS, user=user, body={"title": "x"})),
        ("health", recorded("health")),
    ):
        answer = handler(name)(request, Context(remaining=2.0))
        assert answer["statusCode"] == 503
        assert int(answer["headers"]["Retry-After"]) >= 1
        assert isinstance(_detail(answer), str)
        assert "127.0.0.1" not in answer["body"]
    lines = printed()
    assert "hush" not in str(lines)
    assert [line["Errors"] for line in lines if "Errors" in line] == [[1]] * 3
    rare = [line for line in lines if "Unavailable" in line]
    assert [line["Unavailable"] for line in rare] == [[1]] * 3
    assert all(line["Retries"][0] > 0 for line in rare)


@pytest.mark.parametrize(("sqlstate", "status"), [("40P01", 503), ("23514", 500)])
def test_a_transaction_that_met_another_one_may_be_tried_again(
    user: str, monkeypatch: pytest.MonkeyPatch, sqlstate: str, status: int
) -> None:
    def refused(*_: object) -> None:
        raise ConflictError("Postgres refused the unit of work", sqlstate=sqlstate)

    monkeypatch.setattr(store, "list_page", refused)
    answer = handler("list_tasks")(event("GET", TASKS, user=user), Context())
    assert answer["statusCode"] == status
    assert ("Retry-After" in answer["headers"]) is (status == 503)


@pytest.mark.parametrize("text", ["x", '"', "\x01", "🍵"])
def test_the_largest_answer_is_one_that_lambda_can_return(
    user: str, database_url: str, text: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO tasks (user_id, id, title, description)"
            " SELECT %s, gen_random_uuid(), %s, %s FROM generate_series(1, 1000)",
            (user, (text * 500)[:500], (text * 5000)[:5000]),
        )
    answer = handler("list_tasks")(event("GET", TASKS, user=user), Context())
    size = len(json.dumps(answer).encode())
    assert 5_000_000 < size <= 5_500_000 + 2_000  # the headers and the rest of the envelope
    assert "Link" in answer["headers"]


@pytest.mark.parametrize("text", ["\x01", "🍵"])
def test_the_largest_answer_of_a_batch_is_one_that_lambda_can_return(
    user: str, database_url: str, text: str
) -> None:
    insert = (
        "INSERT INTO tasks (user_id, id, title, description)"
        " SELECT %s, gen_random_uuid(), %s, %s FROM generate_series(1, 50) RETURNING id::text"
    )
    user = (user + "🍵" * 255)[:255]
    with psycopg.connect(database_url, autocommit=True) as connection:
        ids = connection.execute(insert, (user, text * 500, text * 5000)).fetchall()
    body = {"operations": [{"op": "toggle", "id": id_} for (id_,) in ids]}
    answer = handler("batch_tasks")(
        event("POST", f"{TASKS}/batch", user=user, body=body), Context()
    )
    assert answer["statusCode"] == 200
    assert 1_000_000 < len(json.dumps(answer).encode()) < 6_291_556 * 0.9


def test_a_handler_answers_before_its_time_is_up(user: str, database_url: str) -> None:
    created = handler("create_task")(
        event("POST", TASKS, user=user, body={"title": "x"}), Context()
    )
    task_id = json.loads(created["body"])["id"]
    toggle = event("PATCH", f"{TASK}/complete", user=user, task_id=task_id)
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", (task_id,))
        started = time.monotonic()
        answer = handler("toggle_task")(toggle, Context(remaining=2.0))
        assert time.monotonic() - started < 2.0
    assert answer["statusCode"] == 503
    kept = handler("get_task")(event("GET", TASK, user=user, task_id=task_id), Context())
    assert json.loads(kept["body"])["completed"] is False
