"""A request leaves the numbers that the dashboard and the alarms are made of, and nobody's name."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

import observability
import tasks
from observability import LambdaContext, metrics, observed
from tests.functions.handlers import TASKS, Context, event, handler, recorded
from tests.running import ROOT

ALWAYS = {"Requests", "Errors", "RoundTrips", "Latency"}


@pytest.fixture(autouse=True)
def started(capsys: pytest.CaptureFixture[str]) -> None:
    """A first invocation has happened: it writes a line of its own."""
    handler("docs")(recorded("docs"), Context())
    capsys.readouterr()


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if "_aws" in line]


def _line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = _lines(capsys)
    return line


def _declared(line: dict[str, Any]) -> set[str]:
    """The metrics of a line, by route and of the whole service; the line has all their values."""
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "TaskApi"
    assert directive["Dimensions"] == [["route", "service"], ["service"]]
    assert all(isinstance(line[each], str) for each in ("route", "service"))
    names = {metric["Name"] for metric in directive["Metrics"]}
    assert all(isinstance(value, float) for each in names for value in line[each])
    return names


def test_the_first_request_tells_its_connect_and_the_next_one_only_itself(
    user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = event("GET", TASKS, user=user)
    handler("list_tasks")(listing, Context())
    first = _line(capsys)
    assert first["route"] == "GET /api/{user_id}/tasks"
    assert (first["Requests"], first["Errors"], first["RoundTrips"]) == ([1], [0], [1])
    assert _declared(first) == ALWAYS | {"Connects", "ConnectTime"}
    assert first["Connects"] == [1]
    assert first["ConnectTime"][0] > 0
    handler("list_tasks")(listing, Context())
    again = _line(capsys)
    assert again["RoundTrips"] == [1]
    assert _declared(again) == ALWAYS


def test_the_units_are_those_of_cloudwatch(user: str, capsys: pytest.CaptureFixture[str]) -> None:
    handler("list_tasks")(event("GET", TASKS, user=user), Context())
    directives = _line(capsys)["_aws"]["CloudWatchMetrics"]
    units = {each["Name"]: each["Unit"] for one in directives for each in one["Metrics"]}
    assert {name for name, unit in units.items() if unit == "Milliseconds"} == {
        "Latency",
        "ConnectTime",
    }
    assert set(units.values()) == {"Milliseconds", "Count"}


def test_an_unusable_database_is_counted_as_unavailable(
    user: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://someone:hush@127.0.0.1:1/tasks")
    tasks.database.cache_clear()
    answer = handler("list_tasks")(event("GET", TASKS, user=user), Context(remaining=1.0))
    assert answer["statusCode"] == 503
    line = _line(capsys)
    assert line["Errors"] == [1]
    assert _declared(line) >= {"Unavailable", "Retries"}
    assert line["Unavailable"] == [1]
    assert line["Retries"][0] > 0


@pytest.mark.parametrize("status", [401, 403, 422])
def test_what_a_client_did_wrong_is_no_error_of_ours(
    user: str, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    request = event("GET", TASKS, user=user)
    if status == 401:
        request["requestContext"]["authorizer"] = {}
    elif status == 403:
        request["pathParameters"]["user_id"] = "somebody else"
    else:
        request["rawQueryString"] = "limit=0"
    assert handler("list_tasks")(request, Context())["statusCode"] == status
    line = _line(capsys)
    assert (line["status"], line["Errors"]) == (status, [0])


# --- the actor ---


def test_a_users_requests_have_one_alias_in_every_function_and_nobody_elses(
    user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handler("list_tasks")(event("GET", TASKS, user=user), Context())
    create = event("POST", TASKS, user=user, body={"title": "x"})
    handler("create_task")(create, Context())
    foreign = event("GET", TASKS, user=user)
    foreign["pathParameters"]["user_id"] = "somebody else"
    handler("list_tasks")(foreign, Context())
    handler("list_tasks")(event("GET", TASKS, user=user + "x"), Context())
    lines = _lines(capsys)
    assert user not in json.dumps(lines)
    first, second, third, another = (line["actor"] for line in lines)
    assert first == second == third != another
    assert len(bytes.fromhex(first)) == 8


def test_the_alias_follows_from_a_key_that_the_log_does_not_hold(
    user: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler("list_tasks")(event("GET", TASKS, user=user), Context())
    monkeypatch.setattr(tasks, "derive_key", lambda _purpose: b"another key")
    handler("list_tasks")(event("GET", TASKS, user=user), Context())
    first, second = (line["actor"] for line in _lines(capsys))
    assert first != second


# --- handlers that are no endpoints ---


def test_an_observed_handler_logs_its_error_with_the_traceback_and_raises_it(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    @observed
    def broken(_event: object, _context: LambdaContext) -> None:
        metrics.add_metric("Tried", "Count", 1)
        raise RuntimeError("the reason")

    context: Any = Context()
    with pytest.raises(RuntimeError, match="the reason"):
        broken({}, context)
    (logged,) = caplog.records
    assert logged.exc_info
    assert "the reason" in str(logged.exc_info[1])
    assert _line(capsys)["Tried"] == [1]


def test_the_first_invocation_of_any_function_counts_a_cold_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observability, "_is_cold", True)
    context: Any = Context(function_name="TaskApi-Migrate")
    quiet = observed(lambda _event, _context: "done")
    assert [quiet({}, context), quiet({}, context)] == ["done", "done"]
    line = _line(capsys)
    assert (line["ColdStart"], line["function_name"]) == ([1], "TaskApi-Migrate")
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["function_name", "service"]]


def test_every_metric_that_the_template_looks_at_is_one_that_is_written() -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    layer = ROOT / "layers" / "shared" / "web"
    written = "".join((layer / name).read_text() for name in ("endpoint.py", "work.py"))
    alarms = [
        each["Properties"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::CloudWatch::Alarm"
    ]
    plain = {each["MetricName"] for each in alarms if each.get("Namespace") == "TaskApi"}
    counted = {
        made["MetricName"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::Logs::MetricFilter"
        for made in each["Properties"]["MetricTransformations"]
    }
    assert plain
    for name in plain - counted:
        assert f'"{name}"' in written


@pytest.mark.parametrize("query", ["FailedRequests", "SlowRequests", "WhoCostsMost"])
def test_every_field_of_a_saved_query_is_in_a_requests_line(
    user: str, query: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handler("list_tasks")(event("GET", TASKS, user=user), Context())
    line = _line(capsys)
    discovered = {
        f"{name}.{position}" if isinstance(value, list) else name
        for name, value in line.items()
        for position in range(len(value) if isinstance(value, list) else 1)
    }
    template = yaml_parse((ROOT / "template.yaml").read_text())
    text = template["Resources"][f"{query}Query"]["Properties"]["QueryString"]
    named = set(
        re.findall(r"\b(?:sum|pct|max|ispresent)\(([^,)]+)|\bby (\w+)|\b([A-Z]\w+(?:\.\d)?)", text)
    )
    fields = {field for groups in named for field in groups if field}
    assert fields >= {"Latency.0"}
    assert fields <= discovered
