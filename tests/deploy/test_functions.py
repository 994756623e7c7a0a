"""What the functions of the translated template are given, and what their logs keep and count."""

from __future__ import annotations

import json
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

ALL = set(functions())


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
