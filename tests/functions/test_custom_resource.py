"""CloudFormation gets exactly one response, in time, whatever happens to the migrations."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.servers import Authority
from neon import ConfigurationError
from tests.aws import settings
from tests.functions.handlers import Context, handler, modules, recorded
from tests.https import Answer, Asked, Server, serving

LATEST = len(list((Path("functions") / "migrate" / "migrations").glob("*.sql")))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the authority that signs for the server that stands in for S3."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server; it answers as told, and this process trusts it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.roots))
    opened = []

    def new(answer: Answer = lambda _: (200, b"")) -> Server:
        context = serving(answer, authority.issue("localhost"))
        opened.append(context)
        return context.__enter__()

    yield new
    for context in opened:
        context.__exit__(None, None, None)


def _request(server: Server, name: str = "migrate_create", **members: Any) -> dict[str, Any]:
    event: dict[str, Any] = recorded(name)
    return event | {"ResponseURL": f"{server.url}/bucket/key?X-Amz-Signature=a%2Fb"} | members


def _answer(server: Server) -> dict[str, Any]:
    asked: Asked = server.asked.get(timeout=10)
    assert asked.method == "PUT"
    assert asked.path == "/bucket/key?X-Amz-Signature=a%2Fb"
    assert asked.headers["content-type"] == ""
    answer: dict[str, Any] = json.loads(asked.body)
    return answer


def test_creating_applies_the_migrations_and_says_the_version(
    start: Callable[..., Server], new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    monkeypatch.setenv("DATABASE_URL", url)
    server = start()
    event = _request(server)
    assert handler("migrate")(event, Context()) == {}
    assert _answer(server) == {
        "Status": "SUCCESS",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": "Schema",
        "PhysicalResourceId": "schema",
        "Data": {"Version": str(LATEST)},
    }
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM schema_migrations").fetchone() == (LATEST,)


@pytest.mark.parametrize("name", ["migrate_delete", "migrate_rollback"])
def test_deleting_and_taking_back_succeed_without_touching_the_database(
    start: Callable[..., Server], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hush@127.0.0.1:1/none")
    server = start()
    handler("migrate")(_request(server, name), Context())
    assert _answer(server)["Status"] == "SUCCESS"


def test_a_failure_is_answered_with_its_reason_and_without_the_password(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hush@127.0.0.1:1/none")
    server = start()
    handler("migrate")(_request(server), Context())
    answer = _answer(server)
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("The database cannot be reached")
    assert "hush" not in json.dumps(answer)


def test_what_is_not_done_in_time_is_a_failure_in_time_and_answered_once(
    start: Callable[..., Server],
) -> None:
    server = start()
    answered = threading.Event()
    answers: list[dict[str, Any]] = []

    def work() -> dict[str, Any]:
        answers.append(_answer(server))  # while the work continues
        answered.set()
        return {"version": 1}

    modules("migrate")["custom_resource"].serve(_request(server), 0.0, work)
    assert answered.is_set()
    assert answers[0]["Reason"] == "The time was over before the work was done"
    assert server.asked.empty()


def test_an_answer_that_does_not_get_through_is_sent_again(start: Callable[..., Server]) -> None:
    statuses = [503, 503, 200]
    server = start(lambda _: (statuses.pop(0), b""))
    handler("migrate")(_request(server, "migrate_delete"), Context())
    assert [_answer(server)["Status"] for _ in range(3)] == ["SUCCESS"] * 3
    assert statuses == []


def _updated(server: Server, *, old: tuple[str, str], new: tuple[str, str]) -> dict[str, Any]:
    """Return an update from one pair of code version and secret version to another."""
    event = _request(server, "migrate_update")
    arn = event["ResourceProperties"]["Code"].rpartition(":")[0]
    for name, (code, secret) in (("ResourceProperties", new), ("OldResourceProperties", old)):
        event[name] = event[name] | {"Code": f"{arn}:{code}", "SecretVersion": secret}
    return event


EARLY, LATE = "2026-11-21T09:00:00Z/ff", "2026-11-21T10:00:00Z/00"


@pytest.mark.parametrize(
    ("old", "new", "is_done"),
    [
        (("7", EARLY), ("7", LATE), True),  # a new connection string
        (("7", LATE), ("7", EARLY), False),  # its rollback
        (("7", EARLY), ("8", EARLY), True),  # new code
        (("7", ""), ("7", EARLY), True),  # from a release that did not name versions
    ],
)
def test_a_new_version_of_the_secret_is_migrated_and_its_rollback_is_not(
    start: Callable[..., Server], old: tuple[str, str], new: tuple[str, str], is_done: bool
) -> None:
    server, done = start(), threading.Event()

    def work() -> dict[str, Any]:
        done.set()
        return {"version": 1}

    event = _updated(server, old=old, new=new)
    modules("migrate")["custom_resource"].serve(event, 60.0, work)
    assert _answer(server)["Status"] == "SUCCESS"
    assert done.is_set() == is_done


@pytest.fixture
def denials(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Make Secrets Manager refuse until this list is empty, and then return a database."""
    refusals: list[str] = []
    text = json.dumps({"SecretString": new_database()}).encode()

    def answer(_: Asked) -> tuple[int, bytes]:
        return (400, json.dumps({"__type": refusals.pop()}).encode()) if refusals else (200, text)

    with serving(answer) as server:
        monkeypatch.delenv("DATABASE_URL", raising=False)
        monkeypatch.setenv("DATABASE_SECRET", "task-api/test/owner")
        for name, value in settings(server.url).items():
            monkeypatch.setenv(name, value)
        yield refusals


def test_a_role_that_iam_does_not_know_yet_is_waited_for_while_there_is_time(
    denials: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    denials += ["AccessDeniedException"] * 5
    with monkeypatch.context() as patch:
        patch.setattr(modules("migrate")["app"], "_PAUSE_SECONDS", 0.0)
        assert handler("migrate")({}, Context())["version"] == LATEST
    denials += ["AccessDeniedException"] * 2
    with pytest.raises(ConfigurationError, match="AccessDeniedException"):
        handler("migrate")({}, Context(remaining=1.0))
    assert denials == ["AccessDeniedException"]


def test_the_schedule_purges_expired_keys_and_the_log_has_their_number(
    new_database: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = new_database()
    monkeypatch.setenv("DATABASE_URL", url)
    handler("migrate")({}, Context())
    with psycopg.connect(url) as owner:
        owner.execute(
            "INSERT INTO idempotency_keys (user_id, scope, key, fingerprint, tasks, created_at)"
            " SELECT 'alice', 's', n::text, '', '{}', now() - (n || ' hours')::interval"
            " FROM generate_series(1, 30) AS n"
        )
    with caplog.at_level("INFO"):
        assert handler("migrate")({"action": "purge"}, Context()) == {"purged": 7}
    assert "purged 7 expired idempotency keys" in caplog.text
