"""What the functions of the translated template are given, and what their logs keep and count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.transformed import (
    MONITORING,
    counts,
    document,
    functions,
    resolved,
    resources,
    source,
)
from tests.functions.handlers import recorded
from tests.running import ROOT
from tests.test_architecture import LAYER, imports_of

ALL = set(functions())
SHARED = set(source()["Globals"]["Function"]["Environment"]["Variables"])
OWN = {
    name: set(properties.get("Environment", {}).get("Variables", {})) - SHARED
    for name, properties in functions().items()
}


def _files(folder: Path) -> set[Path]:
    """Return the files of a function, and those of the layer that they import."""
    found, left = set[Path](), list(folder.glob("*.py"))
    while left:
        path = left.pop()
        found.add(path)
        for name in imports_of(path):
            place = LAYER / name.replace(".", "/")
            near = {place.with_suffix(".py"), place / "__init__.py"}
            left += [each for each in near - found if each.is_file()]
    return found


def _read(folder: Path) -> set[str]:
    """Return the variables that a function's code names; without a database, not the database's."""
    has_none = "finish(database=False)" in (folder / "app.py").read_text()
    rooms = ("neon",) if has_none else ()
    files = [each for each in _files(folder) if each.parent.name not in rooms]
    text = "".join(each.read_text() for each in files if each.name != "startup.py")
    return {each for each in set().union(*OWN.values()) if f'"{each}"' in text}


@pytest.mark.parametrize("name", OWN)
def test_a_function_has_exactly_the_variables_that_its_code_reads(name: str) -> None:
    assert _read(ROOT / functions()[name]["CodeUri"]) == OWN[name]


@pytest.mark.parametrize(
    ("parameter", "variable", "value", "names"),
    [
        ("JwtSubjects", "JWT_SUBJECTS", "task-api-smoke,alice", {"Authorizer"}),
        ("JwtIssuers", "JWT_ISSUERS", '[{"issuer": "https://a.example"}]', {"Authorizer"}),
        ("JwtIssuer", "JWT_ISSUER", "https://a.example", {"Authorizer", "Smoke"}),
        ("JwtAudience", "JWT_AUDIENCE", "tasks", {"Authorizer", "Smoke"}),
        ("MaxTasksPerUser", "MAX_TASKS_PER_USER", "5", ALL),
    ],
)
def test_a_parameter_reaches_the_functions_that_need_it(
    parameter: str, variable: str, value: str, names: set[str]
) -> None:
    stack = document("dev", **{parameter: value})
    found = {
        name: resolved(stack, each["Environment"]["Variables"]).get(variable)
        for name, each in resources(stack, "AWS::Lambda::Function")
    }
    assert {name: each for name, each in found.items() if each is not None} == dict.fromkeys(
        names, value
    )


@pytest.mark.parametrize(
    ("parameter", "value", "member", "expected"),
    [
        ("Architecture", "arm64", "Architectures", ["arm64"]),
        ("SnapStart", "PublishedVersions", "SnapStart", {"ApplyOn": "PublishedVersions"}),
    ],
)
def test_processors_and_snapshots_are_those_of_every_function(
    parameter: str, value: str, member: str, expected: Any
) -> None:
    stack = document("dev", **{parameter: value})
    found = dict(resources(stack, "AWS::Lambda::Function"))
    assert {name: resolved(stack, each[member]) for name, each in found.items()} == dict.fromkeys(
        ALL, expected
    )
    ((_, layer),) = resources(stack, "AWS::Lambda::LayerVersion")
    processors = resolved(stack, layer["CompatibleArchitectures"])
    assert processors == resolved(stack, found["ListTasks"]["Architectures"])


def test_every_hour_migrate_is_asked_to_purge() -> None:
    stack = document("prod")
    (purge,) = (
        each
        for _, each in resources(stack, "AWS::Scheduler::Schedule")
        if each["Target"]["Arn"] == {"Ref": "MigrateAliaslive"}
    )
    assert purge["ScheduleExpression"] == "rate(1 hour)"
    assert json.loads(purge["Target"]["Input"]) == recorded("migrate_purge")


@pytest.mark.parametrize(("environment", "days"), [("dev", "7"), ("staging", "30"), ("prod", "90")])
def test_every_log_is_kept_for_the_days_of_its_environment(environment: str, days: str) -> None:
    stack = document(environment)
    groups = dict(resources(stack, "AWS::Logs::LogGroup"))
    assert {resolved(stack, each["RetentionInDays"]) for each in groups.values()} == {days}
    ((_, stage),) = resources(stack, "AWS::ApiGatewayV2::Stage")
    assert stage["AccessLogSettings"]["DestinationArn"] == {"Fn::GetAtt": ["AccessLog", "Arn"]}
    for name, each in resources(stack, "AWS::Lambda::Function"):
        assert each["LoggingConfig"]["LogGroup"]["Ref"] in groups, name


REPORT = {"requestId": "1", "metrics": {"durationMs": 2.5}}


@pytest.mark.parametrize(
    ("line", "is_counted"),
    [
        ({"message": "request", "status": 500, "Errors": [1]}, True),
        ({"message": "request", "status": 404, "Errors": [0]}, False),
        ({"message": "counters", "Connects": [1]}, False),
        # https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html#Status
        ({"type": "platform.report", "record": REPORT | {"status": "success"}}, False),
        ({"type": "platform.report", "record": REPORT | {"status": "error"}}, True),
        ({"type": "platform.report", "record": REPORT | {"status": "timeout"}}, True),
        ({"type": "platform.start", "record": {"requestId": "1", "version": "7"}}, False),
    ],
)
def test_a_failed_request_and_a_crash_count_as_failures(
    line: dict[str, Any], is_counted: bool
) -> None:
    """tests/functions/test_metrics.py shows that the line of a request has these members."""
    assert counts(source()["Resources"]["Failures"], line) == is_counted


@pytest.mark.parametrize(("status", "is_counted"), [("401", True), ("403", True), ("429", False)])
def test_a_refusal_in_the_access_log_is_counted(status: str, is_counted: bool) -> None:
    stack = document("prod")
    ((_, stage),) = resources(stack, "AWS::ApiGatewayV2::Stage")
    line = resolved(stack, stage["AccessLogSettings"]["Format"])
    line = json.loads(line.replace("$context.status", status))
    refusals = MONITORING["Resources"]["Refusals"]
    assert counts(refusals, line) == is_counted
    assert refusals["Properties"]["LogGroupName"] == {"Ref": "AccessLog"}
    (made,) = refusals["Properties"]["MetricTransformations"]
    assert MONITORING["Resources"]["RefusedBurst"]["Properties"]["MetricName"] == made["MetricName"]
