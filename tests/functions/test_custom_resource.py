"""CloudFormation gets one answer, in time, whatever happens to the migrations."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.functions.handlers import Context, handler, modules, recorded
from tests.https import Answer, Asked, Server, serving
from tests.neon.servers import Authority

LATEST = len(list((Path("functions") / "migrate" / "migrations").glob("*.sql")))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who vouches for the server that stands in for S3."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Starts a server that answers as told, which this process trusts."""
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


def test_updating_keeps_the_physical_id(start: Callable[..., Server]) -> None:
    server = start()
    handler("migrate")(_request(server, "migrate_update"), Context())
    answer = _answer(server)
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "schema")


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


def test_of_an_error_that_is_not_ours_only_the_kind_is_told(start: Callable[..., Server]) -> None:
    def work() -> dict[str, Any]:
        raise ValueError("hush")

    server = start()
    modules("migrate")["custom_resource"].serve(_request(server), 60.0, work)
    assert _answer(server)["Reason"] == "ValueError; the log of Migrate has it all"


def test_what_is_not_done_in_time_is_a_failure_in_time_and_answered_once(
    start: Callable[..., Server],
) -> None:
    server = start()
    answered = threading.Event()
    answers: list[dict[str, Any]] = []

    def work() -> dict[str, Any]:
        answers.append(_answer(server))  # while the work still goes on
        answered.set()
        return {"version": 1}

    modules("migrate")["custom_resource"].serve(_request(server), 0.0, work)
    assert answered.is_set()
    assert answers[0]["Reason"] == "it was not done in time"
    assert server.asked.empty()


def test_an_answer_that_does_not_get_through_is_sent_again(start: Callable[..., Server]) -> None:
    statuses = [503, 503, 200]
    server = start(lambda _: (statuses.pop(0), b""))
    handler("migrate")(_request(server, "migrate_delete"), Context())
    assert [_answer(server)["Status"] for _ in range(3)] == ["SUCCESS"] * 3
    assert statuses == []
