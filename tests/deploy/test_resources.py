"""What the translated template lets a caller, a function, a role and a rollout do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.deploy.transformed import (
    ENVIRONMENTS,
    MONITORING,
    document,
    functions,
    needs,
    resolved,
    resources,
    source,
    statements,
)
from tests.routes import FUNCTIONS, ROUTES
from tests.running import ROOT

FUNCTION, ALARM = "AWS::Lambda::Function", "AWS::CloudWatch::Alarm"
PUBLIC = {("get", "/health"), ("get", "/docs"), ("get", "/openapi.json")}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ENDPOINTS = {name for name, folder in FUNCTIONS.items() if folder in {r.folder for r in ROUTES}}


@pytest.fixture(params=ENVIRONMENTS)
def stack(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the translated template of each environment."""
    return document(request.param)


# -- routes --------------------------------------------------------------------------------------


def _operations(stack: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    ((_, api),) = resources(stack, "AWS::ApiGatewayV2::Api")
    return {
        (method, path): operation
        for path, methods in api["Body"]["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_needs_an_identity_unless_it_is_named_public(stack: dict[str, Any]) -> None:
    operations = _operations(stack).items()
    assert {key for key, each in operations if each.get("security") != [{"Caller": []}]} == PUBLIC


def test_public_routes_get_less_of_the_throttle(stack: dict[str, Any]) -> None:
    ((_, stage),) = resources(stack, "AWS::ApiGatewayV2::Stage")
    limits = {key: each["ThrottlingRateLimit"] for key, each in stage["RouteSettings"].items()}
    assert set(limits) == {f"{method.upper()} {path}" for method, path in PUBLIC}
    assert max(limits.values()) <= 5
    assert limits["GET /docs"] == 1  # the page is large, and its traffic is billed


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_the_gateway_asks_the_aliases_that_a_rollout_moves(environment: str) -> None:
    stack = document(environment)
    aliases = dict(resources(stack, "AWS::Lambda::Alias"))
    for operation in _operations(stack).values():
        uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
        assert re.findall(r"\$\{(\w+)\}", uri)[-1] in aliases
    ((name, api),) = resources(stack, "AWS::ApiGatewayV2::Api")
    scheme = api["Body"]["components"]["securitySchemes"]["Caller"]
    uri = resolved(stack, scheme["x-amazon-apigateway-authorizer"]["authorizerUri"])
    assert uri.endswith(":function:Authorizer:live/invocations")
    permission = stack["Resources"][f"{name}CallerAuthorizerPermission"]["Properties"]
    assert resolved(stack, permission["FunctionName"]).endswith(":function:Authorizer:live")
    for name in aliases:
        is_moved = "UpdatePolicy" in stack["Resources"][name]
        assert is_moved == (name not in ("MigrateAliaslive", "SmokeAliaslive"))


def test_the_access_log_names_no_user(stack: dict[str, Any]) -> None:
    ((_, stage),) = resources(stack, "AWS::ApiGatewayV2::Stage")
    line = json.loads(resolved(stack, stage["AccessLogSettings"]["Format"]))
    assert line["requestId"] == "$context.requestId"
    assert not re.search(r"\$context\.(path|authorizer\.(sub|claims))", json.dumps(line))


def test_a_domain_closes_the_address_of_aws() -> None:
    stack = document("prod", DomainName="api.example.com")
    ((_, api),) = resources(stack, "AWS::ApiGatewayV2::Api")
    (server,) = api["Body"]["servers"]
    endpoint = resolved(stack, server["x-amazon-apigateway-endpoint-configuration"])
    assert endpoint == {"disableExecuteApiEndpoint": True}
    address = stack["Outputs"]["ApiUrl"]["Value"]
    assert resolved(stack, address) == "https://api.example.com"
    assert ".execute-api." in resolved(document("prod"), address)
    for each in (stack, document("prod")):
        smoke = each["Resources"]["Smoke"]["Properties"]["Environment"]["Variables"]
        assert resolved(each, smoke["API_URL"]).format("Api") == resolved(each, address)


# -- permissions and settings --------------------------------------------------------------------


def _own(stack: dict[str, Any], function: str) -> set[tuple[str, str]]:
    """Return what a function may do beside its log and traces; secrets by their names."""
    role = stack["Resources"][function]["Properties"]["Role"]["Fn::GetAtt"][0]
    return {
        (action, re.sub(r"^arn:.*:secret:(.+)-\?{6}$", r"\1", resource))
        for action, resource in statements(stack, role)
    }


def test_a_function_reads_the_secret_that_it_needs_and_may_do_nothing_else() -> None:
    stack = document("prod")
    own = resolved(stack, {"Ref": "AWS::StackId"})
    look = {(f"cloudformation:Describe{each}", own) for each in ("Stacks", "StackResource")}
    read = {
        name: {("secretsmanager:GetSecretValue", f"task-api/prod/{secret}")}
        for secret, names in {
            "database": ENDPOINTS - {"Docs"},
            "owner": {"Migrate"},
            "jwt": {"Authorizer", "Smoke"},
        }.items()
        for name in names
    }
    read["Smoke"] |= look
    assert {name: _own(stack, name) for name in functions()} == {"Docs": set()} | read
    for name, properties in resources(stack, FUNCTION):
        variables = resolved(stack, properties["Environment"]["Variables"]).values()
        may = {secret for _, secret in read.get(name, ()) if secret.startswith("task-api/")}
        assert {each for each in variables if str(each).startswith("task-api/prod/")} == may, name


def test_no_secret_is_in_any_functions_configuration(stack: dict[str, Any]) -> None:
    for name, properties in resources(stack, FUNCTION):
        variables = resolved(stack, properties["Environment"]["Variables"])
        assert variables.get("DATABASE_URL", "") == variables.get("JWT_SECRET", "") == "", name
    assert "resolve:secretsmanager" not in json.dumps(stack, default=str)


@pytest.mark.parametrize(("owner", "allowed"), [("task-api/dev/owner", ""), ("", "1")])
def test_the_owner_serves_only_where_the_api_has_no_login_of_its_own(
    owner: str, allowed: str
) -> None:
    stack = document("dev", MigrationSecret=owner)
    for name, properties in resources(stack, FUNCTION):
        variables = resolved(stack, properties["Environment"]["Variables"])
        assert variables["ALLOW_OWNER_LOGIN"] == allowed, name


GOOD = {"CorsOrigins": "https://tasks.example.com"}
REFUSED = [
    ("dev", {}, None),
    ("dev", {"DatabaseUrl": "postgresql://x/y"}, "DatabaseUrl, OwnerDatabaseUrl and JwtSecret"),
    ("dev", {"JwtSecret": "x" * 32}, "are for local use"),
    ("dev", {"JwtSecretId": ""}, "have to name secrets"),
    ("dev", {"JwtIssuers": "[]", "JwtSubjects": "task-api-smoke"}, "Beside JwtIssuers"),
    ("dev", {"NeonAuthUrl": "https://a.example", "JwtIssuer": "b"}, "and JwtSubjects its users"),
    ("dev", {"JwtIssuers": "[]", "JwtIssuer": "b", "JwtSubjects": "*"}, None),
    ("staging", {"MigrationSecret": ""}, "MigrationSecret has to name the owner's secret"),
    ("prod", {}, "CorsOrigins has to name"),
    ("prod", {"CorsOrigins": "https://t.example.com,http://127.0.0.1:3000"}, "CorsOrigins has to"),
    ("prod", GOOD, None),
]


@pytest.mark.parametrize(("environment", "parameters", "sentence"), REFUSED)
def test_a_deployment_that_would_weaken_it_is_refused(
    environment: str, parameters: dict[str, str], sentence: str | None
) -> None:
    """CloudFormation evaluates rules before any change."""
    stack = document(environment, **parameters)
    refusals = [
        assertion["AssertDescription"]
        for rule in source()["Rules"].values()
        if "RuleCondition" not in rule or _holds(stack, rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not _holds(stack, assertion["Assert"])
    ]
    assert bool(refusals) == bool(sentence)
    assert not sentence or sentence in refusals[0]


def _holds(stack: dict[str, Any], condition: dict[str, Any]) -> bool:
    ((name, arguments),) = condition.items()
    if name in ("Fn::Equals", "Fn::Contains"):
        left, right = (resolved(stack, each) for each in arguments)
        return bool(left == right if name == "Fn::Equals" else right in left)
    judged = [_holds(stack, each) for each in arguments]
    return {"Fn::Not": not judged[0], "Fn::And": all(judged), "Fn::Or": any(judged)}[name]


def test_a_flood_without_credentials_cannot_use_up_the_account() -> None:
    for environment in ENVIRONMENTS:
        kept = {
            name
            for name, each in resources(document(environment), FUNCTION)
            if resolved(document(environment), {"n": each.get("ReservedConcurrentExecutions")})
        }
        assert kept == (set() if environment == "dev" else {"Health", "Docs", "Authorizer"})


# -- rollout -------------------------------------------------------------------------------------


def test_each_step_waits_for_the_one_before(stack: dict[str, Any]) -> None:
    """The order: the schema, Smoke, the authorizer, the endpoints, the verdict."""
    assert "MigrateAliaslive" in needs(stack, "Schema")
    assert "Schema" in needs(stack, "Smoke")
    assert "SmokeAliaslive" in needs(stack, "Authorizer")
    for name in ENDPOINTS:
        assert "AuthorizerAliaslive" in needs(stack, name), name
    # Only the new Smoke knows a new contract, so it comes before all that it judges.
    assert not needs(stack, "SmokeAliaslive") & {"Api", "Authorizer", *ENDPOINTS}
    last = needs(stack, "SmokeTest")
    assert {f"{name}Aliaslive" for name in functions()} <= last
    permissions = {name for name, _ in resources(stack, "AWS::Lambda::Permission")}
    assert permissions <= last, "template.yaml: add the permission to DependsOn of SmokeTest"


def test_every_change_of_what_serves_is_judged_once() -> None:
    stack = document("prod")
    versions = resources(stack, "AWS::Lambda::Version")
    served = {n for n, v in versions if v["FunctionName"]["Ref"] not in ("Migrate", "Smoke")}
    judged = stack["Resources"]["SmokeTest"]["Properties"]
    listed_versions = {each["Ref"] for each in judged["Versions"]}
    assert listed_versions == served, "template.yaml: add the function to Versions of SmokeTest"
    assert judged["ServiceTimeout"] > functions()["Smoke"]["Timeout"]


def test_production_moves_a_tenth_first_and_failures_take_it_back() -> None:
    stack = document("prod")
    groups = dict(resources(stack, "AWS::CodeDeploy::DeploymentGroup"))
    assert {n.removesuffix("DeploymentGroup") for n in groups} == ENDPOINTS | {"Authorizer"}
    for group in groups.values():
        config = resolved(stack, group["DeploymentConfigName"])
        assert config == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
        assert group["AlarmConfiguration"]["Alarms"] == [{"Name": {"Ref": "RolloutErrors"}}]
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]


def test_the_way_out_asks_neither_an_alarm_nor_smoke() -> None:
    stack = document("prod", Rollout="AllAtOnce")
    assert not list(resources(stack, "AWS::CodeDeploy::DeploymentGroup"))
    for name in ("SmokeTest", "RolloutErrors"):
        assert stack["Resources"][name]["Condition"] == "IsWatched"
    watched = {
        n for n, each in source()["Mappings"]["Rollouts"].items() if each != {"Watched": "false"}
    }
    assert watched == set(source()["Parameters"]["Rollout"]["AllowedValues"]) - {"AllAtOnce"}


# -- watching ------------------------------------------------------------------------------------


def test_every_alarm_has_its_section_in_the_runbook_and_its_place_on_the_dashboard() -> None:
    alarms = dict(resources(MONITORING, ALARM))
    for name, alarm in (alarms | dict(resources(source(), ALARM))).items():
        assert alarm["AlarmDescription"].endswith(f"docs/operations.md#{name.lower()}"), name
        assert f'<a id="{name.lower()}"></a>\n### {name}\n' in OPERATIONS, name
    assert all(each["AlarmActions"] == [{"Ref": "AlarmTopic"}] for each in alarms.values())
    ((_, dashboard),) = resources(MONITORING, "AWS::CloudWatch::Dashboard")
    body = dashboard["DashboardBody"]["Fn::Sub"]
    assert set(re.findall(r"\$\{(\w+)\.Arn\}", body)) == set(alarms)
    assert json.loads(re.sub(r"\$\{[^}]*\}", "x", body))["widgets"]


def test_the_monitoring_names_only_what_the_api_has() -> None:
    """`make deploy` passes the resources that have the name of a parameter."""
    of_make = {"Service", "AlarmEmail", "SmokeMinutes", "AccountConcurrency"}
    assert set(MONITORING["Parameters"]) - of_make <= set(source()["Resources"])
    periods = MONITORING["Mappings"]["SmokePeriods"]
    allowed = [str(each) for each in source()["Parameters"]["SmokeMinutes"]["AllowedValues"]]
    assert {key: each["Seconds"] for key, each in periods.items()} == {
        minutes: int(minutes) * 60 for minutes in allowed
    }
    assert MONITORING["Parameters"]["SmokeMinutes"]["AllowedValues"] == allowed


def test_no_schedule_and_no_invocation_of_smoke_is_tried_again(stack: dict[str, Any]) -> None:
    for name, schedule in resources(stack, "AWS::Scheduler::Schedule"):
        assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0, name
    ((_, invocation),) = resources(stack, "AWS::Lambda::EventInvokeConfig")
    assert invocation["MaximumRetryAttempts"] == 0


def test_no_name_could_belong_to_two_stacks(stack: dict[str, Any]) -> None:
    """A literal name can exist only once in an account and region; a reference differs by stack."""
    literal = {
        (resource["Type"], key, value)
        for each in (stack, MONITORING)
        for resource in each["Resources"].values()
        for key, value in resource.get("Properties", {}).items()
        if key.endswith("Name") and isinstance(value, str) and key != "MetricName"
    }
    inner = {("AWS::ApiGatewayV2::Stage", "StageName", "$default")}
    assert literal == inner | {("AWS::Lambda::Alias", "Name", "live")}
    for name, alarm in resources(MONITORING, ALARM):
        text = json.dumps(alarm)
        assert "TaskApi" not in text or "Service" in text, name
