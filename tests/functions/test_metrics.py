"""A request leaves the numbers that the dashboard and the alarms are made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

import tasks
from tests.functions.handlers import TASKS, Context, event, handler
from tests.running import ROOT
from web import record

BY_ROUTE = {"Requests", "Errors", "RoundTrips", "Latency"}


@pytest.fixture(autouse=True)
def counted_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new environment, whatever the tests before had counted."""
    monkeypatch.setattr(record, "_counted", {})


def _line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (line,) = [line for line in lines if "_aws" in line]
    return dict(line)


def _declared(line: dict[str, Any]) -> dict[tuple[str, ...], set[str]]:
    """The metrics of a line by their dimensions, each of which the line has a value for."""
    found = {}
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert directive["Namespace"] == "TaskApi"
        (dimensions,) = directive["Dimensions"]
        assert all(isinstance(line[each], str) for each in dimensions)
        names = {metric["Name"] for metric in directive["Metrics"]}
        assert all(isinstance(line[each], int | float) for each in names)
        found[tuple(dimensions)] = names
    return found


def test_the_first_request_tells_its_connect_and_the_next_one_only_itself(
    user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = event("GET", TASKS, user=user)
    handler("list_tasks")(listing, Context())
    first = _line(capsys)
    assert first["route"] == "GET /api/{user_id}/tasks"
    assert (first["Requests"], first["Errors"], first["RoundTrips"]) == (1, 0, 1)
    declared = _declared(first)
    assert declared["route", "service"] == BY_ROUTE
    assert {"Connects", "ConnectTime"} <= declared["service",]
    assert first["Connects"] == 1
    assert first["ConnectTime"] > 0
    handler("list_tasks")(listing, Context())
    again = _line(capsys)
    assert again["RoundTrips"] == 1
    assert _declared(again) == {("route", "service"): BY_ROUTE}


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
    assert line["Errors"] == 1
    assert {"Unavailable", "Retries"} <= _declared(line)["service",]
    assert line["Unavailable"] == 1
    assert line["Retries"] > 0


def test_every_metric_that_the_template_looks_at_is_one_that_is_written() -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    written = (ROOT / "layers" / "shared" / "web" / "record.py").read_text()
    alarms = [
        each["Properties"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::CloudWatch::Alarm"
    ]
    plain = {each["MetricName"] for each in alarms if each.get("Namespace") == "TaskApi"}
    assert plain
    for name in plain:
        assert f'"{name}"' in written
