"""A request leaves the numbers that the dashboard and the alarms are made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

import tasks
from tests.functions.handlers import TASKS, Context, event, handler
from tests.running import ROOT


def _records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if "_aws" in line]


def _names(record: dict[str, Any]) -> set[str]:
    (declared,) = record["_aws"]["CloudWatchMetrics"]
    return {metric["Name"] for metric in declared["Metrics"]}


def test_the_first_request_tells_its_connect_and_the_next_one_only_itself(
    user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = event("GET", TASKS, user=user)
    handler("list_tasks")(listing, Context())
    by_route, of_service = _records(capsys)
    assert by_route["route"] == "GET /api/{user_id}/tasks"
    assert (by_route["Requests"], by_route["Errors"], by_route["RoundTrips"]) == (
        [1.0],
        [0.0],
        [1.0],
    )
    assert of_service["Connects"] == [1.0]
    assert of_service["ConnectTime"][0] > 0
    assert "route" not in of_service
    handler("list_tasks")(listing, Context())
    (again,) = _records(capsys)
    assert again["RoundTrips"] == [1.0]


def test_an_unusable_database_is_counted_as_unavailable(
    user: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://someone:hush@127.0.0.1:1/tasks")
    tasks.database.cache_clear()
    answer = handler("list_tasks")(event("GET", TASKS, user=user), Context(remaining=1.0))
    assert answer["statusCode"] == 503
    by_route, of_service = _records(capsys)
    assert by_route["Errors"] == [1.0]
    assert of_service["Unavailable"] == [1.0]
    assert of_service["Retries"][0] > 0


def test_every_metric_that_the_template_looks_at_is_one_that_is_written() -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    written = (ROOT / "layers" / "shared" / "web" / "metrics.py").read_text()
    alarms = [
        each["Properties"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::CloudWatch::Alarm"
    ]
    plain = {each["MetricName"] for each in alarms if each.get("Namespace") == "TaskApi"}
    assert plain
    for name in plain:
        assert f'"{name}"' in written
