"""A request writes the metrics that dashboard and alarms read, and never names its user."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

import observability
from deploy import template
from observability import LambdaContext, metrics, observed
from tests.deploy.transformed import members_read
from tests.functions.handlers import TASKS, Context, event, handler, recorded
from tests.running import ROOT

ALWAYS = {"Requests", "Errors", "RoundTrips", "Latency"}
RARE = {"ColdStarts", "Connects", "ConnectTime", "Reconnects", "Retries", "PoolWaits"}
RARE |= {"Unavailable"}
BY_ROUTE, OF_THE_SERVICE = ["route", "service"], ["service"]


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a first invocation, which counts a cold start, before the test."""
    monkeypatch.setattr(observability, "_is_cold", False)


def _dimensions(line: dict[str, Any]) -> list[str]:
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "TaskApi"
    (names,) = directive["Dimensions"]
    assert all(isinstance(line[each], str) for each in names)
    return sorted(names)


def _line(capsys: pytest.CaptureFixture[str], dimensions: list[str] = BY_ROUTE) -> dict[str, Any]:
    """Check that all lines of metrics are well formed, and return the one with these dimensions."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (line,) = [each for each in lines if "_aws" in each and _dimensions(each) == dimensions]
    found: dict[str, Any] = line
    return found


def _units(line: dict[str, Any]) -> dict[str, str]:
    """Return the unit of each metric that a line declares."""
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    return {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}


def _declared(line: dict[str, Any]) -> set[str]:
    """Check that a line has the values of the metrics that it declares, and return their names."""
    names = set(_units(line))
    assert all(isinstance(value, float) for each in names for value in line[each])
    return names


def test_a_request_writes_one_line_and_a_second_one_only_if_something_rare_happened(
    user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = event("GET", TASKS, user=user)
    handler("list_tasks")(listing, Context())
    first, rare = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (_dimensions(first), _declared(first)) == (BY_ROUTE, ALWAYS)
    assert first["route"] == "GET /api/{user_id}/tasks"
    assert (first["Requests"], first["Errors"], first["RoundTrips"]) == ([1], [0], [1])
    assert (_dimensions(rare), _declared(rare)) == (OF_THE_SERVICE, {"Connects", "ConnectTime"})
    assert rare["Connects"] == [1]
    assert rare["ConnectTime"][0] > 0
    assert rare["function_request_id"] == first["function_request_id"]
    units = _units(first) | _units(rare)
    assert {name for name in units if units[name] != "Count"} == {"Latency", "ConnectTime"}
    assert units["Latency"] == units["ConnectTime"] == "Milliseconds"
    handler("list_tasks")(listing, Context())
    again = _line(capsys)
    assert again["RoundTrips"] == [1]
    assert _declared(again) == ALWAYS


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
    assert _line(capsys, OF_THE_SERVICE)["Tried"] == [1]


@pytest.mark.parametrize("name", ["authorizer", "docs"])
def test_the_first_invocation_of_any_function_counts_a_cold_start_and_names_the_version(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observability, "_is_cold", True)
    for _ in range(2):
        handler(name)(recorded(name), Context())
    line = _line(capsys, OF_THE_SERVICE)
    assert (line["ColdStarts"], _declared(line)) == ([1], {"ColdStarts"})
    assert line["version"] == observability.VERSION


# --- what the templates make of it ---


TEMPLATES = [ROOT / "template.yaml", ROOT / "deploy" / "monitoring.yaml"]


def _resources(type_: str) -> Iterator[dict[str, Any]]:
    for path in TEMPLATES:
        for each in template.parse(path)["Resources"].values():
            if each["Type"] == type_:
                yield each["Properties"]


def test_every_metric_that_a_template_looks_at_is_one_that_is_written() -> None:
    filtered = {
        metric["MetricName"]
        for each in _resources("AWS::Logs::MetricFilter")
        for metric in each["MetricTransformations"]
    }
    alarms = [each for each in _resources("AWS::CloudWatch::Alarm") if "MetricName" in each]
    ours = {each["MetricName"] for each in alarms if "TaskApi" in str(each["Namespace"])}
    assert filtered <= ours <= filtered | RARE
    text = "".join(path.read_text() for path in TEMPLATES)
    shown = set(re.findall(r'"TaskApi", "(\w+)", "service"', text))
    assert shown
    assert shown <= RARE
    searched = set(re.findall(r"{TaskApi,route,service} .*?MetricName=.{2}(\w+)", text))
    assert searched
    assert searched <= ALWAYS


def test_the_saved_queries_read_members_that_a_requests_line_has(
    user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logs Insights names the values of a list `Latency.0`, `Latency.1` and so on."""
    handler("list_tasks")(event("GET", TASKS, user=user), Context())
    line = _line(capsys)
    members = {f"{name}.0" if isinstance(value, list) else name for name, value in line.items()}
    queries = [each["QueryString"] for each in _resources("AWS::Logs::QueryDefinition")]
    of_requests = [query for query in queries if 'message = "request"' in query]
    assert len(of_requests) == 3
    assert line["message"] == "request"
    for query in of_requests:
        assert members_read(query) <= members, query
