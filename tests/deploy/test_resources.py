"""The translated template says what the documents say, in every environment."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from local.intrinsics import function_arn
from tests.deploy.transformed import (
    ENVIRONMENTS,
    changed,
    document,
    read_variables,
    resolved,
    resources,
    source,
    statements,
)
from tests.running import ROOT

FUNCTION, ALARM = "AWS::Lambda::Function", "AWS::CloudWatch::Alarm"
PUBLIC = {("get", "/health"), ("get", "/docs"), ("get", "/openapi.json")}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
DEPLOYING = (ROOT / "docs" / "deploying.md").read_text()
# What of the layer each function runs, which reads variables of its own.
DATABASE = {"DATABASE_URL", "DATABASE_SECRET"}
POWERTOOLS = {
    "POWERTOOLS_SERVICE_NAME",
    "POWERTOOLS_METRICS_NAMESPACE",
}


@pytest.fixture(params=ENVIRONMENTS)
def stack(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The translated template of each environment."""
    return document(request.param)


def _operations(stack: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    ((_, api),) = resources(stack, "AWS::ApiGatewayV2::Api")
    return {
        (method, path): operation
        for path, methods in api["Body"]["paths"].items()
        for method, operation in methods.items()
    }


# -- routes --------------------------------------------------------------------------------------


def test_every_route_needs_an_identity_unless_it_is_named_public(stack: dict[str, Any]) -> None:
    operations = _operations(stack)
    without = {
        key
        for key, operation in operations.items()
        if operation.get("security") != [{"Caller": []}]
    }
    assert without == PUBLIC
    assert len(operations) == 9


def test_every_route_leads_to_the_alias_that_a_rollout_moves(stack: dict[str, Any]) -> None:
    for operation in _operations(stack).values():
        uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
        alias = re.findall(r"\$\{(\w+)\}", uri)[-1]
        assert stack["Resources"][alias]["Type"] == "AWS::Lambda::Alias"
        assert "CodeDeployLambdaAliasUpdate" in stack["Resources"][alias]["UpdatePolicy"]


def test_the_authorizer_is_asked_by_the_alias_that_a_rollout_moves(stack: dict[str, Any]) -> None:
    ((api_name, api),) = resources(stack, "AWS::ApiGatewayV2::Api")
    alias_name = stack["Resources"][api_name]["DependsOn"]  # only then it may be called by name
    alias = stack["Resources"][alias_name]
    assert alias["Type"] == "AWS::Lambda::Alias"
    assert alias["Properties"]["FunctionName"] == {"Ref": "Authorizer"}
    arn = f"{function_arn('Authorizer')}:{alias['Properties']['Name']}"
    scheme = api["Body"]["components"]["securitySchemes"]["Caller"]
    uri = resolved(stack, scheme["x-amazon-apigateway-authorizer"]["authorizerUri"])
    assert uri.endswith(f"/functions/{arn}/invocations")
    permission = stack["Resources"][f"{api_name}CallerAuthorizerPermission"]["Properties"]
    assert resolved(stack, permission["FunctionName"]) == arn
    assert {"Ref": api_name} in permission["SourceArn"]["Fn::Sub"][1].values()


def test_every_route_of_the_specification_is_deployed_and_the_other_way_round(
    stack: dict[str, Any],
) -> None:
    text = (ROOT / "functions" / "docs" / "openapi.json").read_text()
    described = {
        (method, path) for path, methods in json.loads(text)["paths"].items() for method in methods
    }
    assert set(_operations(stack)) == described | {("get", "/docs"), ("get", "/openapi.json")}


def test_every_route_has_an_alarm_on_its_errors(stack: dict[str, Any]) -> None:
    watched = {
        dimension["Value"]
        for _, alarm in resources(stack, ALARM)
        for metric in alarm.get("Metrics", [])
        for dimension in metric.get("MetricStat", {}).get("Metric", {}).get("Dimensions", [])
        if dimension["Name"] == "route"
    }
    assert watched == {f"{method.upper()} {path}" for method, path in _operations(stack)}


def test_the_stage_throttles_and_gives_public_routes_less(stack: dict[str, Any]) -> None:
    ((_, stage),) = resources(stack, "AWS::ApiGatewayV2::Stage")
    values = stack["_values"]
    default = resolved(stack, stage["DefaultRouteSettings"])
    assert default["ThrottlingRateLimit"] == values["ThrottleRate"]
    assert set(stage["RouteSettings"]) == {f"{m.upper()} {path}" for m, path in PUBLIC}
    for settings in stage["RouteSettings"].values():
        assert settings["ThrottlingRateLimit"] <= 5


def test_the_access_log_names_no_user(stack: dict[str, Any]) -> None:
    ((_, stage),) = resources(stack, "AWS::ApiGatewayV2::Stage")
    line = stage["AccessLogSettings"]["Format"]
    assert json.loads(line)["requestId"] == "$context.requestId"
    assert not re.search(r"\$context\.(path|authorizer\.(sub|claims|principalId))", line)


# -- permissions ---------------------------------------------------------------------------------


def _table() -> dict[str, set[str]]:
    """The table of docs/operations.md: function, and the actions that it may take."""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", OPERATIONS, re.M)
    return {name: set(re.findall(r"`(\w+:\w+)`", actions)) for name, actions in rows}


def test_every_functions_role_allows_what_the_table_says_and_nothing_else(
    stack: dict[str, Any],
) -> None:
    table = _table()
    for name, properties in resources(stack, FUNCTION):
        role = properties["Role"]["Fn::GetAtt"][0]
        assert role == f"{name}Role", "each function has a role of its own"
        assert {action for action, _, _ in statements(stack, role)} == table[name], name
    assert set(table) == {name for name, _ in resources(stack, FUNCTION)}


def test_no_role_takes_a_managed_policy_that_is_not_written_here_but_one(
    stack: dict[str, Any],
) -> None:
    foreign = {
        str(resolved(stack, arn))
        for _, role in resources(stack, "AWS::IAM::Role")
        for arn in role.get("ManagedPolicyArns", [])
        if "Ref" not in arn
    }
    assert foreign == {"arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited"}


def test_no_wildcard_is_without_its_written_reason(stack: dict[str, Any]) -> None:
    wild = {
        (action, resource)
        for name, _ in resources(stack, "AWS::IAM::Role")
        for action, resource, _ in statements(stack, name)
        if "*" in action or "*" in resource
    }
    assert {action for action, _ in wild} == {
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        "codedeploy:PutLifecycleEventHookExecutionStatus",
    }
    for action, _ in wild:
        assert f"`{action}`" in OPERATIONS.partition("## Wildcards")[2], action


def test_a_function_reads_only_the_secret_that_it_needs() -> None:
    stack = document("prod", MigrationSecret="task-api/prod/owner")
    read = {
        name: {
            re.findall(r"secret:(.+)-\?{6}$", resource)[0]
            for action, resource, _ in statements(stack, f"{name}Role")
            if action == "secretsmanager:GetSecretValue"
        }
        for name, _ in resources(stack, FUNCTION)
    }
    assert read.pop("Migrate") == {"task-api/prod/owner"}
    assert read.pop("Authorizer") == read.pop("Smoke") == {"task-api/prod/jwt"}
    assert read.pop("Docs") == set()
    assert all(names == {"task-api/prod/database"} for names in read.values())


def test_a_function_writes_to_its_own_log_alone(stack: dict[str, Any]) -> None:
    for name, properties in resources(stack, FUNCTION):
        assert properties["LoggingConfig"]["LogGroup"] == {"Ref": f"{name}Log"}
        targets = {r for a, r, _ in statements(stack, f"{name}Role") if a.startswith("logs:")}
        assert targets == {f"{name}Log.Arn"}


# -- settings ------------------------------------------------------------------------------------


def test_no_secret_is_in_any_functions_configuration(stack: dict[str, Any]) -> None:
    for name, properties in resources(stack, FUNCTION):
        variables = resolved(stack, properties["Environment"]["Variables"])
        assert variables.get("DATABASE_URL", "") == variables.get("JWT_SECRET", "") == "", name
    assert "resolve:secretsmanager" not in json.dumps(stack, default=str)


def test_a_deployment_refuses_secrets_as_parameters() -> None:
    asserted = [
        each["Assert"] for each in source()["Rules"]["SecretsStayInSecretsManager"]["Assertions"]
    ]
    assert asserted == [
        {"Fn::Equals": [{"Ref": name}, ""]}
        for name in ("DatabaseUrl", "OwnerDatabaseUrl", "JwtSecret")
    ]


def test_every_variable_that_code_reads_is_set_and_every_one_set_is_read(
    stack: dict[str, Any],
) -> None:
    for name, properties in resources(stack, FUNCTION):
        folder = source()["Resources"][name]["Properties"]["CodeUri"]
        variables = set(properties["Environment"]["Variables"])
        is_served = "from web." in (ROOT / folder / "app.py").read_text()
        expected = POWERTOOLS | {"PYDANTIC_DISABLE_PLUGINS"} if is_served else set()
        if name not in ("Docs", "Authorizer", "Smoke"):
            expected = expected | DATABASE
        own = {each for each in read_variables(folder) if each.startswith(("JWT_", "API_", "SERV"))}
        assert variables == expected | own, name


def test_parameters_outputs_and_the_deploying_page_agree() -> None:
    template = source()
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name
        constrained = {"AllowedValues", "AllowedPattern", "MinValue"} & set(parameter)
        free = {"JwtIssuers", "JwtIssuer", "JwtAudience", "CorsOrigins"}
        assert constrained or name in free, name
    documented = set(re.findall(r"^\| `(\w+)` \|", DEPLOYING, re.M))
    assert documented == set(template["Parameters"]) | set(template["Outputs"])


# -- rollout -------------------------------------------------------------------------------------


def test_production_moves_a_tenth_first_and_smoke_and_an_alarm_decide() -> None:
    stack = document("prod")
    groups = dict(resources(stack, "AWS::CodeDeploy::DeploymentGroup"))
    assert len(groups) == 9
    for name, group in groups.items():
        function = name.removesuffix("DeploymentGroup")
        config = resolved(stack, group["DeploymentConfigName"])
        assert config == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
        assert group["AlarmConfiguration"]["Alarms"] == [{"Name": {"Ref": f"{function}Errors"}}]
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        update = stack["Resources"][f"{function}Aliaslive"]["UpdatePolicy"]
        hooks = update["CodeDeployLambdaAliasUpdate"]
        smoke = resolved(stack, stack["Resources"]["Smoke"]["Properties"]["FunctionName"])
        assert resolved(stack, hooks["BeforeAllowTrafficHook"]) == smoke
        assert resolved(stack, hooks["AfterAllowTrafficHook"]) == smoke


def test_codedeploy_may_invoke_the_hook(stack: dict[str, Any]) -> None:
    (invoke,) = (s for s in statements(stack, "RolloutRole") if s[0] == "lambda:InvokeFunction")
    name = resolved(stack, stack["Resources"]["Smoke"]["Properties"]["FunctionName"])
    assert invoke[1].endswith(f":function:{name}")


def test_the_schema_is_there_before_anything_that_uses_it_is_updated(
    stack: dict[str, Any],
) -> None:
    for name, properties in resources(stack, FUNCTION):
        if "DATABASE_SECRET" in properties["Environment"]["Variables"] and name != "Migrate":
            assert stack["Resources"][name]["DependsOn"] == "Schema", name


def test_changed_code_runs_the_migrations_and_a_missing_answer_ends_within_minutes(
    stack: dict[str, Any],
) -> None:
    schema = stack["Resources"]["Schema"]["Properties"]
    version = stack["Resources"][schema["Code"]["Ref"]]
    assert version["Type"] == "AWS::Lambda::Version"
    timeout = stack["Resources"]["Migrate"]["Properties"]["Timeout"]
    assert timeout < schema["ServiceTimeout"] <= 600


@pytest.mark.parametrize(
    ("section", "name", "key", "value"),
    [
        ("Resources", "SharedLayer", "ContentUri", "s3://local/another"),
        ("Globals", "Function", "Runtime", "python3.14"),
    ],
)
def test_another_layer_or_setting_makes_a_new_version_of_every_function(
    section: str, name: str, key: str, value: object
) -> None:
    def change(template: dict[str, Any]) -> None:
        found = template[section][name]
        found.get("Properties", found)[key] = value

    before, after = (
        {version for version, _ in resources(each, "AWS::Lambda::Version")}
        for each in (document("dev"), changed(change))
    )
    assert len(before) == len(after) == 11
    assert not before & after


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_one_parameter_chooses_the_processors_of_all(architecture: str) -> None:
    stack = document("dev", Architecture=architecture)
    for _, properties in resources(stack, FUNCTION):
        assert resolved(stack, properties["Architectures"]) == [architecture]
    for _, layer in resources(stack, "AWS::Lambda::LayerVersion"):
        assert resolved(stack, layer["CompatibleArchitectures"]) == [architecture]


def test_snapshots_and_reservations_are_there_when_asked_for() -> None:
    plain = document("dev")
    asked = document("dev", SnapStart="PublishedVersions", ReservedConcurrency="20")
    for stack, apply_on, reserved in ((plain, "None", None), (asked, "PublishedVersions", "20")):
        for name, properties in resources(stack, FUNCTION):
            assert resolved(stack, properties["SnapStart"])["ApplyOn"] == apply_on, name
            value = resolved(stack, {"r": properties["ReservedConcurrentExecutions"]}).get("r")
            assert value == reserved


# -- watching ------------------------------------------------------------------------------------


def test_every_alarm_tells_the_topic_and_has_its_section_in_the_runbook(
    stack: dict[str, Any],
) -> None:
    headings = {
        line.lstrip("# ").strip().lower() for line in OPERATIONS.splitlines() if line[:4] == "### "
    }
    anchors = {part.strip("` ") for heading in headings for part in heading.split(",")}
    for name, alarm in resources(stack, ALARM):
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}], name
        assert alarm["AlarmDescription"].endswith(f"docs/operations.md#{name.lower()}"), name
        assert f'<a id="{name.lower()}"></a>' in OPERATIONS, name
    assert anchors


def test_every_alarm_is_on_the_dashboard() -> None:
    stack = document("prod")
    ((_, dashboard),) = resources(stack, "AWS::CloudWatch::Dashboard")
    body = dashboard["DashboardBody"]["Fn::Sub"]
    shown = set(re.findall(r"\$\{(\w+)\.Arn\}", body))
    assert shown == {name for name, _ in resources(stack, ALARM)}
    assert json.loads(re.sub(r"\$\{[^}]*\}", "x", body))["widgets"]


def test_logs_are_kept_as_long_as_the_parameter_says(stack: dict[str, Any]) -> None:
    for name, group in resources(stack, "AWS::Logs::LogGroup"):
        retention = resolved(stack, group["RetentionInDays"])
        assert retention == stack["_values"]["LogRetention"], name


def test_smoke_runs_on_a_schedule_and_is_not_tried_again(stack: dict[str, Any]) -> None:
    ((_, schedule),) = resources(stack, "AWS::Scheduler::Schedule")
    assert resolved(stack, schedule["ScheduleExpression"]) == "rate(5 minutes)"
    ((_, invocation),) = resources(stack, "AWS::Lambda::EventInvokeConfig")
    assert invocation["MaximumRetryAttempts"] == 0


def test_every_function_is_traced(stack: dict[str, Any]) -> None:
    for name, properties in resources(stack, FUNCTION):
        assert properties["TracingConfig"] == {"Mode": "Active"}, name
        assert "xray" not in (ROOT / "requirements" / "layer.txt").read_text()
