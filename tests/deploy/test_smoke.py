"""Smoke is a customer: it finds what a customer would find, and leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.aws import SecretsManager
from tests.contract.client import Client
from tests.functions.handlers import Context, modules, recorded
from tests.https import Asked, serving
from tests.running import ROOT, Running, running

SECRET = "a-secret-that-only-these-tests-know-0123456789"
STEPS = ["clean", "create", "read", "update", "toggle", "list", "keep_out", "delete"]


@pytest.fixture(scope="module")
def database(new_database: Callable[[], str]) -> str:
    """The database behind the API."""
    return new_database()


@pytest.fixture(scope="module")
def api(database: str) -> Iterator[Running]:
    """The local API, for which tokens need an issuer and an audience."""
    settings = {
        "DATABASE_URL": database,
        "JWT_SECRET": SECRET,
        "JWT_ISSUER": "https://smoke.example",
        "JWT_AUDIENCE": "tasks",
    }
    with running(settings) as served:
        yield served


@pytest.fixture
def smoke(api: Running, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Smoke's modules, in the environment of its function."""
    monkeypatch.delenv("JWT_SECRET_ID", raising=False)
    for name, value in {
        "API_URL": api.url,
        "SERVICE": "task-api-test",
        "JWT_SECRET": SECRET,
        "JWT_ISSUER": "https://smoke.example",
        "JWT_AUDIENCE": "tasks",
    }.items():
        monkeypatch.setenv(name, value)
    return modules("smoke")


def _rows(database: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT count(*) FROM tasks").fetchone()
    assert row is not None
    return int(row[0])


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_visit_succeeds_in_every_step_and_leaves_nothing(
    smoke: dict[str, Any], database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smoke["app"].handler(recorded("smoke"), Context())["outcome"] == "ok"
    *metrics, summary = _lines(capsys)
    assert [line["step"] for line in metrics] == STEPS
    assert all(line["StepSuccess"] == 1 and line["StepTime"] > 0 for line in metrics)
    assert summary["message"] == "smoke"
    assert _rows(database) == 0


def test_a_metric_says_what_cloudwatch_needs_to_read_it(smoke: dict[str, Any]) -> None:
    line = json.loads(smoke["report"].metric("task-api-dev", smoke["visit"].Step("read", 12.5)))
    (declared,) = line["_aws"]["CloudWatchMetrics"]
    assert declared["Namespace"] == "TaskApi"
    for names in declared["Dimensions"]:
        assert {name: line[name] for name in names} == {"service": "task-api-dev", "step": "read"}
    assert {each["Name"]: line[each["Name"]] for each in declared["Metrics"]} == {
        "StepTime": 12.5,
        "StepSuccess": 1,
    }
    assert abs(line["_aws"]["Timestamp"] / 1000 - datetime.now(UTC).timestamp()) < 60


def test_what_a_crashed_predecessor_left_is_removed_and_what_another_visit_needs_is_not(
    smoke: dict[str, Any], database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    user = smoke["identity"].USER
    with psycopg.connect(database) as connection:
        for title, age in (("left", "11 minutes"), ("running", "1 minute")):
            connection.execute(
                "INSERT INTO tasks (user_id, id, title, created_at)"
                " VALUES (%s, gen_random_uuid(), %s, now() - %s::interval)",
                (user, title, age),
            )
    smoke["app"].handler({}, Context())
    capsys.readouterr()
    with psycopg.connect(database) as connection:
        titles = connection.execute("SELECT title FROM tasks WHERE user_id = %s", (user,))
        assert titles.fetchall() == [("running",)]
        connection.execute("DELETE FROM tasks")


@pytest.mark.parametrize("broken", STEPS[1:-2])
def test_a_step_that_fails_is_named_raises_and_leaves_nothing(
    smoke: dict[str, Any],
    database: str,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The API behind a proxy that spoils the answers of one step."""
    real = smoke["api"].Api.send
    spoil = {
        "create": ("POST", "title"),
        "read": ("GET", "description"),
        "update": ("PUT", "title"),
        "toggle": ("PATCH", "completed"),
        "list": ("LIST", "completed"),
    }[broken]

    def send(self: Any, method: str, path: str, *rest: Any, **named: Any) -> Any:
        answer = real(self, method, path, *rest, **named)
        is_list = method == "GET" and path.endswith("/tasks")
        if spoil[0] == ("LIST" if is_list else method):
            for task in answer.body if is_list else [answer.body]:
                task[spoil[1]] = "spoiled"
        return answer

    monkeypatch.setattr(smoke["api"].Api, "send", send)
    reason = f"{broken}: {spoil[1]} is not what it has to be"
    with pytest.raises(smoke["app"].SmokeFailed, match=reason):
        smoke["app"].handler({}, Context())
    monkeypatch.undo()
    *metrics, summary = _lines(capsys)
    assert (summary["outcome"], summary["failed"]) == ("failed", broken)
    assert [line["step"] for line in metrics if not line["StepSuccess"]] == [broken]
    assert _rows(database) == 0


def test_an_api_that_does_not_answer_is_a_failure_of_the_first_step(
    smoke: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_URL", "http://127.0.0.1:1")
    with pytest.raises(smoke["app"].SmokeFailed, match="clean: no answer"):
        smoke["app"].handler({}, Context())


def test_the_secret_is_found_by_its_name(
    smoke: dict[str, Any], secrets_manager: SecretsManager
) -> None:
    secrets_manager.create("task-api/dev/jwt", SECRET)
    found = smoke["identity"].secret({"JWT_SECRET": "", "JWT_SECRET_ID": "task-api/dev/jwt"})
    assert found == SECRET


@pytest.mark.parametrize(
    ("url", "verdict"), [(None, "Succeeded"), ("http://127.0.0.1:1", "Failed")]
)
def test_codedeploy_is_told_the_verdict(
    smoke: dict[str, Any],
    url: str | None,
    verdict: str,
    monkeypatch: pytest.MonkeyPatch,
    aws_endpoint: str,
) -> None:
    assert aws_endpoint
    event = recorded("smoke_hook")
    with serving(lambda _: (200, b"{}")) as codedeploy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CODEDEPLOY", codedeploy.url)
        if url:
            monkeypatch.setenv("API_URL", url)
            with pytest.raises(smoke["app"].SmokeFailed):
                smoke["app"].handler(event, Context())
        else:
            smoke["app"].handler(event, Context())
        asked: Asked = codedeploy.asked.get(timeout=10)
    target = "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus"
    assert asked.headers["x-amz-target"] == target
    assert json.loads(asked.body) == {
        "deploymentId": event["DeploymentId"],
        "lifecycleEventHookExecutionId": event["LifecycleEventHookExecutionId"],
        "status": verdict,
    }


def test_codedeploy_is_told_also_when_the_secret_cannot_be_read(
    smoke: dict[str, Any], monkeypatch: pytest.MonkeyPatch, aws_endpoint: str
) -> None:
    assert aws_endpoint
    monkeypatch.delenv("JWT_SECRET")
    monkeypatch.setenv("JWT_SECRET_ID", "none")
    with serving(lambda _: (200, b"{}")) as codedeploy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CODEDEPLOY", codedeploy.url)
        with pytest.raises(Exception, match="ResourceNotFoundException"):
            smoke["app"].handler(recorded("smoke_hook"), Context())
        assert json.loads(codedeploy.asked.get(timeout=10).body)["status"] == "Failed"


def test_smokes_token_lives_for_minutes_and_is_nobody_elses(smoke: dict[str, Any]) -> None:
    import jwt

    text = smoke["identity"].token(SECRET)
    claims = jwt.decode(text, SECRET, ["HS256"], audience="tasks", issuer="https://smoke.example")
    assert claims["sub"] == "task-api-smoke"
    assert claims["exp"] - claims["iat"] == 300


def test_make_smoke_prints_a_table_of_the_same_steps(api: Running, database: str) -> None:
    result = subprocess.run(
        ["make", "--no-print-directory", "smoke", f"URL={api.url}/"],
        cwd=ROOT,
        env=os.environ
        | {
            "JWT_SECRET": SECRET,
            "JWT_ISSUER": "https://smoke.example",
            "JWT_AUDIENCE": "tasks",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines() if line]
    assert [(line[0], line[-1]) for line in lines] == [(step, "ok") for step in STEPS]
    assert _rows(database) == 0


def test_make_smoke_fails_where_a_customer_would(api: Running) -> None:
    result = subprocess.run(
        ["make", "--no-print-directory", "smoke", f"URL={api.url}"],
        cwd=ROOT,
        env=os.environ | {"JWT_SECRET": "x" * 40},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "clean" in result.stdout
    assert "answered 401 instead of 200 (request " in result.stdout


def test_the_smoke_user_is_an_ordinary_user(api: Running, smoke: dict[str, Any]) -> None:
    client = Client(api.url, SECRET, smoke["identity"].USER)
    assert client.send("GET", "/api/somebody/tasks").status_code in (401, 403)
