"""Smoke is a customer: it finds what a customer would find, judges by it, and cleans up."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import psycopg
import pytest

from bench.servers import Authority
from tests.aws import SecretsManager
from tests.functions.handlers import Context, modules, recorded
from tests.https import Asked, Server, serving
from tests.routes import ROUTES
from tests.running import ROOT, Running, running

SECRET = "a-secret-that-only-these-tests-know-0123456789"
TOKENS = {
    "JWT_SECRET": SECRET,
    "JWT_ISSUER": "https://smoke.example",
    "JWT_AUDIENCE": "tasks",
}
STEPS = [
    "health",
    "documents",
    "clean",
    "create",
    "read",
    "update",
    "toggle",
    "batch",
    "list",
    "keep_out",
    "delete",
]


@pytest.fixture(scope="module")
def database(new_database: Callable[[], str]) -> str:
    """Return the API's database."""
    return new_database()


@pytest.fixture(scope="module")
def api(database: str) -> Iterator[Running]:
    """Run the local API; its tokens need an issuer and an audience."""
    with running({"DATABASE_URL": database, **TOKENS}) as served:
        yield served


def _deploy_stack(**resources: str) -> str:
    """Create a stack in moto, and return its id."""
    template = {"Resources": {name: {"Type": kind} for name, kind in resources.items()}}
    client = boto3.client("cloudformation")
    created = client.create_stack(StackName="task-api-test", TemplateBody=json.dumps(template))
    return str(created["StackId"])


@pytest.fixture
def smoke(api: Running, aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return Smoke's modules in its function's environment."""
    assert aws_endpoint
    monkeypatch.delenv("JWT_SECRET_ID", raising=False)
    stack = _deploy_stack(Api="AWS::SQS::Queue")
    for name, value in {"STACK_ID": stack, "API_URL": api.url, **TOKENS}.items():
        monkeypatch.setenv(name, value)
    found = modules("smoke")
    monkeypatch.setattr(found["api"], "_PAUSES", (0.0, 0.0, 0.0))
    return found


def _rows(database: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT count(*) FROM tasks").fetchone()
    assert row is not None
    return int(row[0])


def _steps(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return those lines of metrics that belong to a step."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if "step" in line]


def test_a_visit_succeeds_in_every_step_and_leaves_nothing(
    smoke: dict[str, Any],
    database: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    assert smoke["app"].handler(recorded("smoke"), Context())["outcome"] == "ok"
    steps = _steps(capsys)
    assert [line["step"] for line in steps] == STEPS
    assert all(line["StepSuccess"] == [1] and line["StepTime"][0] > 0 for line in steps)
    for line in steps:  # what CloudWatch needs to read the metrics
        (declared,) = line["_aws"]["CloudWatchMetrics"]
        assert declared["Namespace"] == "TaskApi"
        assert {line[name] for name in declared["Dimensions"][0]} == {"task-api", line["step"]}
        assert {each["Name"] for each in declared["Metrics"]} == {"StepTime", "StepSuccess"}
    assert (caplog.records[-1].getMessage(), vars(caplog.records[-1])["outcome"]) == ("smoke", "ok")
    assert _rows(database) == 0


def test_a_visit_uses_every_route_of_the_template(
    smoke: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, used = smoke["api"].Api.send, set[str]()

    def send(self: Any, method: str, path: str, *rest: Any, **named: Any) -> Any:
        used.update(r.key for r in ROUTES if r.method == method and _fits(r.path, path))
        return real(self, method, path, *rest, **named)

    monkeypatch.setattr(smoke["api"].Api, "send", send)
    smoke["app"].handler({}, Context())
    assert used == {route.key for route in ROUTES}, "functions/smoke/visit.py: add a step"


def _fits(template: str, path: str) -> bool:
    """Return whether a request's path matches the route's."""
    return re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path) is not None


def test_what_a_crashed_predecessor_left_is_removed_and_what_another_visit_needs_is_not(
    smoke: dict[str, Any], database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    user = smoke["api"].USER
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


@pytest.mark.parametrize(
    ("broken", "member"), [("create", "title"), ("update", "title"), ("list", "completed")]
)
def test_a_step_that_fails_is_named_raises_and_leaves_nothing(
    smoke: dict[str, Any],
    database: str,
    broken: str,
    member: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A proxy in front of the API spoils the responses of one step."""
    real = smoke["api"].Api.send

    def send(self: Any, method: str, path: str, *rest: Any, **named: Any) -> Any:
        answer = real(self, method, path, *rest, **named)
        if {"POST": "create", "PUT": "update"}.get(method) == broken:
            answer.body[member] = "spoiled"
        if method == "GET" and path.endswith("/tasks") and broken == "list":
            for task in answer.body:
                task[member] = "spoiled"
        return answer

    monkeypatch.setattr(smoke["api"].Api, "send", send)
    reason = f"{broken}: {member} is not what it has to be"
    with pytest.raises(smoke["app"].SmokeFailedError, match=reason):
        smoke["app"].handler({}, Context())
    monkeypatch.undo()
    assert [line["step"] for line in _steps(capsys) if line["StepSuccess"] == [0]] == [broken]
    assert _rows(database) == 0


def test_the_address_is_the_domain_or_has_the_apis_id(
    smoke: dict[str, Any], api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert smoke["cloudformation"].api_url() == api.url
    monkeypatch.setenv("API_URL", "https://{}.execute-api.example")
    queue = boto3.client("cloudformation").describe_stack_resource(
        StackName="task-api-test", LogicalResourceId="Api"
    )["StackResourceDetail"]["PhysicalResourceId"]
    assert smoke["cloudformation"].api_url() == f"https://{queue}.execute-api.example"


@pytest.mark.parametrize(
    ("statuses", "last"),
    [
        ([429, 500, 201], 201),
        ([503, 503, 503, 503], 503),  # four tries, and no more
        ([404], 404),  # a refusal
    ],
)
def test_what_passes_is_tried_again_with_the_same_key(
    smoke: dict[str, Any], statuses: list[int], last: int
) -> None:
    answers = iter(statuses)
    with serving(lambda _: (next(answers), b"{}")) as server:
        answer = smoke["api"].Api(server.url, "token").send("POST", "/x", {"title": "x"})
        asked: list[Asked] = [server.asked.get(timeout=10) for _ in statuses]
        assert server.asked.empty()
    assert answer.status == last
    assert len({each.headers["idempotency-key"] for each in asked}) == 1
    assert {each.body for each in asked} == {b'{"title": "x"}'}


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/health", b'{"status": "tired"}', "health: it is not ok"),
        ("/docs", b"{}", "documents: /docs is no page"),
    ],
)
def test_what_needs_no_identity_is_visited_as_well(
    smoke: dict[str, Any], path: str, body: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(asked: Asked) -> tuple[int, bytes]:
        return 200, body if asked.path == path else b'{"status": "ok"}'

    with serving(answer) as server:
        monkeypatch.setenv("API_URL", server.url)
        with pytest.raises(smoke["app"].SmokeFailedError, match=reason):
            smoke["app"].handler({}, Context())


# -- the verdict on a deployment -----------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the authority that signs for the server that stands in for S3."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def s3(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run a server that takes CloudFormation's responses."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.roots))
    with serving(lambda _: (200, b""), authority.issue("localhost")) as server:
        yield server


def _request(s3: Server, kind: str) -> dict[str, Any]:
    event: dict[str, Any] = recorded("smoke_deployment")
    return event | {"RequestType": kind, "ResponseURL": f"{s3.url}/answer?signature=1"}


def _verdict(s3: Server) -> dict[str, Any]:
    asked: Asked = s3.asked.get(timeout=10)
    assert (asked.method, asked.path) == ("PUT", "/answer?signature=1")
    assert asked.headers["content-type"] == ""
    assert s3.asked.empty()
    return dict(json.loads(asked.body))


def test_cloudformation_is_told_that_a_customer_can_use_the_new_code(
    smoke: dict[str, Any],
    s3: Server,
    secrets_manager: SecretsManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The secret is found by its name."""
    secrets_manager.create("task-api/dev/jwt", SECRET)
    monkeypatch.delenv("JWT_SECRET")
    monkeypatch.setenv("JWT_SECRET_ID", "task-api/dev/jwt")
    event = _request(s3, "Update")
    smoke["app"].handler(event, Context())
    assert _verdict(s3) == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "smoke-test",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": "SmokeTest",
    }


def test_cloudformation_is_told_why_a_customer_cannot(
    smoke: dict[str, Any],
    s3: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("API_URL", "http://127.0.0.1:1")
    smoke["app"].handler(_request(s3, "Update"), Context())
    verdict = _verdict(s3)
    assert verdict["Status"] == "FAILED"
    assert verdict["Reason"].startswith("SmokeFailedError: health: no answer")
    assert vars(caplog.records[-1])["reason"] == verdict["Reason"]


def test_cloudformation_is_told_also_when_the_secret_cannot_be_read(
    smoke: dict[str, Any], s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JWT_SECRET")
    monkeypatch.setenv("JWT_SECRET_ID", "none")
    smoke["app"].handler(_request(s3, "Update"), Context())
    assert _verdict(s3)["Status"] == "FAILED"


def test_no_event_leads_smoke_elsewhere(smoke: dict[str, Any], s3: Server) -> None:
    with serving(lambda _: (200, b"{}")) as stranger:
        event = _request(s3, "Update")
        event["ResourceProperties"]["ApiUrl"] = event["ApiUrl"] = stranger.url
        smoke["app"].handler(event, Context())
        assert stranger.asked.empty()
    assert _verdict(s3)["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("Update", "UPDATE_ROLLBACK_IN_PROGRESS"),
        ("Delete", "DELETE_IN_PROGRESS"),
    ],
)
def test_a_stack_that_goes_back_or_away_is_not_judged(
    smoke: dict[str, Any], s3: Server, kind: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke["cloudformation"], "_stack", lambda: {"StackStatus": status})
    smoke["app"].handler(_request(s3, kind), Context())
    assert _verdict(s3)["Status"] == "SUCCESS"


def test_smokes_token_lives_for_minutes_and_is_nobody_elses(smoke: dict[str, Any]) -> None:
    import jwt

    text = smoke["api"].token(SECRET)
    claims = jwt.decode(text, SECRET, ["HS256"], audience="tasks", issuer="https://smoke.example")
    assert claims["sub"] == "task-api-smoke"
    assert claims["exp"] - claims["iat"] == 300


def _make_smoke(url: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "smoke", f"URL={url}"],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("settings", [TOKENS, {"JWT_SECRET": ""}], ids=["given", "asked for"])
def test_make_smoke_prints_a_table_of_the_same_steps(
    api: Running, database: str, settings: dict[str, str]
) -> None:
    result = _make_smoke(f"{api.url}/", **settings)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines() if line]
    assert [(line[0], line[-1]) for line in lines] == [(step, "ok") for step in STEPS]
    assert _rows(database) == 0


def test_make_smoke_fails_where_a_customer_would(api: Running) -> None:
    result = _make_smoke(api.url, JWT_SECRET="x" * 40)
    assert result.returncode != 0
    assert re.search(r"^clean .*answered 401 instead of 200 \(request ", result.stdout, re.M)
