"""The translated template does what the documents say, in every environment."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from deploy.environments import read_environment
from deploy.template import function_arn
from tests.deploy.transformed import (
    ENVIRONMENTS,
    document,
    functions,
    members_read,
    needs,
    read_variables,
    resolved,
    resources,
    source,
    statements,
)
from tests.routes import FUNCTIONS, ROUTES, TASK_ROUTES
from tests.running import ROOT

FUNCTION, ALARM = "AWS::Lambda::Function", "AWS::CloudWatch::Alarm"
PUBLIC = {("get", "/health"), ("get", "/docs"), ("get", "/openapi.json")}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
DEPLOYING = (ROOT / "docs" / "deploying.md").read_text()
DATABASE = {"DATABASE_URL", "DATABASE_SECRET"}  # variables that the layer reads
OWN_SETTING = {"JWT_PREVIOUS_SECRET"}  # the authorizer's own name for the version AWSPREVIOUS
ENDPOINTS = {name for name, folder in FUNCTIONS.items() if folder in {r.folder for r in ROUTES}}
PUBLIC_ENDPOINTS = ENDPOINTS - {
    name for name, folder in FUNCTIONS.items() if folder in {r.folder for r in TASK_ROUTES}
}


@pytest.fixture(params=ENVIRONMENTS)
def stack(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the translated template of each environment."""
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


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_every_route_leads_to_the_alias_that_a_rollout_moves(environment: str) -> None:
    stack = document(environment)
    for operation in _operations(stack).values():
        uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
        alias = re.findall(r"\$\{(\w+)\}", uri)[-1]
        assert stack["Resources"][alias]["Type"] == "AWS::Lambda::Alias"
        assert "CodeDeployLambdaAliasUpdate" in stack["Resources"][alias]["UpdatePolicy"]


def test_the_authorizer_is_asked_by_the_alias_that_a_rollout_moves(stack: dict[str, Any]) -> None:
    ((api_name, api),) = resources(stack, "AWS::ApiGatewayV2::Api")
    alias_name = stack["Resources"][api_name]["DependsOn"]  # else it cannot be called by name
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


def test_the_stage_throttles_and_gives_public_routes_less(stack: dict[str, Any]) -> None:
    ((_, stage),) = resources(stack, "AWS::ApiGatewayV2::Stage")
    values = stack["_values"]
    default = resolved(stack, stage["DefaultRouteSettings"])
    assert default["ThrottlingRateLimit"] == values["ThrottleRate"]
    assert set(stage["RouteSettings"]) == {f"{m.upper()} {path}" for m, path in PUBLIC}
    for settings in stage["RouteSettings"].values():
        assert settings["ThrottlingRateLimit"] <= 5
    assert stage["RouteSettings"]["GET /docs"]["ThrottlingRateLimit"] == 1, (
        "the page is large, and its traffic is billed"
    )


def test_the_access_log_names_no_user(stack: dict[str, Any]) -> None:
    ((_, stage),) = resources(stack, "AWS::ApiGatewayV2::Stage")
    line = resolved(stack, stage["AccessLogSettings"]["Format"])
    assert json.loads(line)["requestId"] == "$context.requestId"
    assert not re.search(r"\$context\.(path|authorizer\.(sub|claims|principalId))", line)


# -- permissions ---------------------------------------------------------------------------------


def _table() -> dict[str, set[str]]:
    """Return the table of docs/operations.md: each role, and the actions that it may take."""
    rows = re.findall(r"^\| `(\w+Role)`.*? \| (.+?) \|", OPERATIONS, re.M)
    return {name: set(re.findall(r"`(\w+:\w+)`", actions)) for name, actions in rows}


def _role(properties: dict[str, Any]) -> str:
    role: str = properties["Role"]["Fn::GetAtt"][0]
    return role


def test_every_functions_role_allows_what_the_table_says_and_nothing_else(
    stack: dict[str, Any],
) -> None:
    allowed = {
        _role(properties): {action for action, _, _ in statements(stack, _role(properties))}
        for _, properties in resources(stack, FUNCTION)
    }
    assert allowed == _table()


def test_functions_share_a_role_and_a_log_only_if_they_read_the_same_secrets(
    stack: dict[str, Any],
) -> None:
    secrets = {"DATABASE_SECRET", "JWT_SECRET_ID"}
    shared: dict[str, set[tuple[str, ...]]] = {}
    for _, properties in resources(stack, FUNCTION):
        used = secrets & set(properties["Environment"]["Variables"])
        shared.setdefault(_role(properties), set()).add(tuple(sorted(used)))
        log = properties["LoggingConfig"]["LogGroup"]["Ref"]
        assert log.removesuffix("Log") == _role(properties).removesuffix("Role")
    assert all(len(uses) == 1 for uses in shared.values()), shared


def test_no_role_takes_a_managed_policy_that_is_not_written_here(stack: dict[str, Any]) -> None:
    for name, role in resources(stack, "AWS::IAM::Role"):
        assert all("Ref" in arn for arn in role.get("ManagedPolicyArns", [])), name


def test_no_wildcard_is_without_its_written_reason(stack: dict[str, Any]) -> None:
    wild = {
        action
        for name, _ in resources(stack, "AWS::IAM::Role")
        for action, resource, _ in statements(stack, name)
        if "*" in action or "*" in resource
    }
    table = OPERATIONS.partition("## Wildcards")[2].partition("\n## ")[0]
    assert wild == set(re.findall(r"^\| `(\w+:\w+)` \| `.*\*` \|", table, re.M))


def test_the_rollouts_role_touches_its_own_functions_alone(stack: dict[str, Any]) -> None:
    allowed = [s for s in statements(stack, "RolloutRole") if s[0].startswith("lambda:")]
    assert {action for action, _, _ in allowed} == {
        "lambda:GetAlias",
        "lambda:UpdateAlias",
        "lambda:GetProvisionedConcurrencyConfig",
    }
    assert {resource for _, resource, _ in allowed} == {f"{function_arn('local')}-*"}
    assert stack["_values"].get("AWS::StackName", "local") == "local"


def test_a_function_reads_only_the_secret_that_it_needs() -> None:
    stack = document("prod")
    read = {
        name: {
            re.findall(r"secret:(.+)-\?{6}$", resource)[0]
            for action, resource, _ in statements(stack, _role(properties))
            if action == "secretsmanager:GetSecretValue"
        }
        for name, properties in resources(stack, FUNCTION)
    }
    assert read.pop("Migrate") == {"task-api/prod/owner"}
    assert read.pop("Authorizer") == read.pop("Smoke") == {"task-api/prod/jwt"}
    assert read.pop("Docs") == set()
    assert all(names == {"task-api/prod/database"} for names in read.values())


def test_a_role_writes_to_its_own_log_alone(stack: dict[str, Any]) -> None:
    for _, properties in resources(stack, FUNCTION):
        targets = {
            resource
            for action, resource, _ in statements(stack, _role(properties))
            if action.startswith("logs:")
        }
        assert targets == {f"{properties['LoggingConfig']['LogGroup']['Ref']}.Arn"}


def test_smoke_may_look_at_its_own_stack_alone(stack: dict[str, Any]) -> None:
    (look,) = (s for s in statements(stack, "SmokeRole") if s[0].startswith("cloudformation:"))
    variables = stack["Resources"]["Smoke"]["Properties"]["Environment"]["Variables"]
    assert look[:2] == (
        "cloudformation:DescribeStacks",
        resolved(stack, variables["STACK_ID"]),
    )


# -- settings ------------------------------------------------------------------------------------


def test_no_secret_is_in_any_functions_configuration(stack: dict[str, Any]) -> None:
    for name, properties in resources(stack, FUNCTION):
        variables = resolved(stack, properties["Environment"]["Variables"])
        assert variables.get("DATABASE_URL", "") == variables.get("JWT_SECRET", "") == "", name
    assert "resolve:secretsmanager" not in json.dumps(stack, default=str)


def test_a_function_gets_the_shared_settings_and_what_its_code_reads(
    stack: dict[str, Any],
) -> None:
    shared = set(source()["Globals"]["Function"]["Environment"]["Variables"])
    for name, properties in resources(stack, FUNCTION):
        read = read_variables(functions()[name]["CodeUri"])
        own = {each for each in read if each.startswith(("JWT_", "STACK_"))} - OWN_SETTING
        if name not in ("Docs", "Authorizer", "Smoke"):
            own |= DATABASE
        assert set(properties["Environment"]["Variables"]) - shared == own, name


@pytest.mark.parametrize(("owner", "allowed"), [("task-api/dev/owner", ""), ("", "1")])
def test_the_owner_serves_only_where_the_api_has_no_login_of_its_own(
    owner: str, allowed: str
) -> None:
    stack = document("dev", MigrationSecret=owner)
    for name, properties in resources(stack, FUNCTION):
        variables = resolved(stack, properties["Environment"]["Variables"])
        assert variables["ALLOW_OWNER_LOGIN"] == allowed, name


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_has_a_login_of_the_apis_own_and_names_secrets_after_itself(
    environment: str,
) -> None:
    named = read_environment(ROOT / "samconfig.toml", environment).parameters
    secrets = {"DatabaseSecret": "database", "MigrationSecret": "owner", "JwtSecretId": "jwt"}
    assert {key: named[key] for key in secrets} == {
        key: f"task-api/{environment}/{name}" for key, name in secrets.items()
    }


def test_the_subjects_that_the_secret_may_sign_for_reach_the_authorizer() -> None:
    stack = document("prod", JwtSubjects="task-api-smoke")
    variables = resolved(stack, stack["Resources"]["Authorizer"]["Properties"]["Environment"])
    assert variables["Variables"]["JWT_SUBJECTS"] == "task-api-smoke"


REFUSED = [
    ("dev", {}, None),
    ("dev", {"DatabaseUrl": "postgresql://x/y"}, "DatabaseUrl is for local use"),
    ("dev", {"OwnerDatabaseUrl": "postgresql://x/y"}, "OwnerDatabaseUrl is for local use"),
    ("dev", {"JwtSecret": "x" * 32}, "JwtSecret is for local use"),
    ("dev", {"DatabaseSecret": ""}, "DatabaseSecret has to name"),
    ("dev", {"JwtIssuers": "[]"}, "Beside JwtIssuers"),
    ("dev", {"DomainName": "api.example.com"}, "CertificateArn has to name"),
    ("dev", {"DefaultEndpoint": "closed"}, "answers under DomainName alone"),
    ("staging", {}, None),
    ("staging", {"MigrationSecret": ""}, "MigrationSecret has to name the owner's secret"),
    ("prod", {"AlarmEmail": "a@example.com"}, "http://localhost:3000 is a developer's machine"),
    ("prod", {"CorsOrigins": "https://tasks.example.com"}, "AlarmEmail has to name"),
    (
        "prod",
        {"CorsOrigins": "https://t.example.com,http://127.0.0.1:3000", "AlarmEmail": "a@b.c"},
        "http://127.0.0.1:3000 is a developer's machine",
    ),
    ("prod", {"CorsOrigins": "https://t.example.com", "AlarmEmail": "a@b.c"}, None),
    (
        "prod",
        {"CorsOrigins": "https://t.example.com", "AlarmEmail": "a@b.c", "MigrationSecret": ""},
        "MigrationSecret has to name the owner's secret",
    ),
]


@pytest.mark.parametrize(("environment", "parameters", "sentence"), REFUSED)
def test_a_deployment_that_would_weaken_it_is_refused(
    environment: str, parameters: dict[str, str], sentence: str | None
) -> None:
    refusals = _refusals(document(environment, **parameters))
    assert bool(refusals) == bool(sentence)
    assert not sentence or sentence in refusals[0]


def _refusals(stack: dict[str, Any]) -> list[str]:
    """Return the sentences of CloudFormation's rules, which it evaluates before any change."""
    return [
        assertion["AssertDescription"]
        for rule in source()["Rules"].values()
        if "RuleCondition" not in rule or _holds(stack, rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not _holds(stack, assertion["Assert"])
    ]


def _holds(stack: dict[str, Any], condition: dict[str, Any]) -> bool:
    ((name, arguments),) = condition.items()
    if name == "Fn::Not":
        return not _holds(stack, arguments[0])
    left, right = (resolved(stack, each) for each in arguments)
    return bool({"Fn::Equals": left == right, "Fn::Contains": right in left}[name])


def test_parameters_outputs_and_the_deploying_page_agree() -> None:
    template = source()
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name
        constrained = {"AllowedValues", "AllowedPattern", "MinValue"} & set(parameter)
        free = {"JwtIssuers", "JwtIssuer", "JwtAudience", "JwtSubjects", "CorsOrigins"}
        assert constrained or name in free, name
    documented = set(re.findall(r"^\| `(\w+)` \|", DEPLOYING, re.M))
    assert documented == set(template["Parameters"]) | set(template["Outputs"])


# -- rollout -------------------------------------------------------------------------------------


def test_each_step_waits_for_the_one_before(stack: dict[str, Any]) -> None:
    """The order: the schema, Smoke, the authorizer, the endpoints, the verdict."""
    assert "MigrateAliaslive" in needs(stack, "Schema")
    assert "Schema" in needs(stack, "Smoke")
    assert "SmokeAliaslive" in needs(stack, "Authorizer")
    for name in ENDPOINTS:
        assert "AuthorizerAliaslive" in needs(stack, name), name
    last = needs(stack, "SmokeTest")
    assert {f"{name}Aliaslive" for name in functions()} - last == set()
    permissions = {name for name, _ in resources(stack, "AWS::Lambda::Permission")}
    assert permissions - last == set(), (
        "template.yaml: add the permission to DependsOn of SmokeTest"
    )


def test_smoke_is_updated_before_what_it_judges(stack: dict[str, Any]) -> None:
    """Only the new Smoke knows a new identity or contract, so it has to judge."""
    ((api, _),) = resources(stack, "AWS::ApiGatewayV2::Api")
    assert not needs(stack, "SmokeAliaslive") & {api, "Authorizer", *ENDPOINTS}


def test_every_change_of_what_serves_is_judged_once() -> None:
    stack = document("prod")
    judged = stack["Resources"]["SmokeTest"]["Properties"]
    served = {
        name
        for name, version in resources(stack, "AWS::Lambda::Version")
        if version["FunctionName"]["Ref"] in ENDPOINTS | {"Authorizer"}
    }
    listed = {each["Ref"] for each in judged["Versions"]}
    assert listed == served, "template.yaml: add the function to Versions of SmokeTest"
    assert judged["ServiceToken"] == {"Ref": "SmokeAliaslive"}
    assert judged["ServiceTimeout"] > stack["Resources"]["Smoke"]["Properties"]["Timeout"]
    for _, alias in resources(stack, "AWS::Lambda::Alias"):
        hooks = alias.get("UpdatePolicy", {}).get("CodeDeployLambdaAliasUpdate", {})
        assert not {name for name in hooks if name.endswith("Hook")}


def _watched(stack: dict[str, Any]) -> dict[str, set[str]]:
    """Return the alarms that roll back each function."""
    return {
        name.removesuffix("DeploymentGroup"): {
            alarm["Name"]["Ref"] for alarm in group["AlarmConfiguration"]["Alarms"]
        }
        for name, group in resources(stack, "AWS::CodeDeploy::DeploymentGroup")
    }


def test_production_moves_a_tenth_first_and_alarms_on_the_new_version_decide() -> None:
    stack = document("prod")
    shared = {"FailedShare", "FailedRequests"}
    assert _watched(stack) == {name: shared | {"CanaryErrors"} for name in ENDPOINTS} | {
        "Authorizer": shared | {"AuthorizerErrors"}
    }
    for _, group in resources(stack, "AWS::CodeDeploy::DeploymentGroup"):
        config = resolved(stack, group["DeploymentConfigName"])
        assert config == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]


def _by_version(alarm: dict[str, Any]) -> dict[str, tuple[Any, Any, str]]:
    """Return for each function what an alarm on crashes reads: version, alias and statistic."""
    metrics = [each["MetricStat"] for each in alarm.get("Metrics", []) if "MetricStat" in each]
    stats = metrics or [{"Metric": alarm, "Stat": alarm["Statistic"], "Period": alarm["Period"]}]
    found = {}
    for stat in stats:
        metric = stat["Metric"]
        assert (metric["Namespace"], metric["MetricName"]) == ("AWS/Lambda", "Errors")
        named = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
        found[named["FunctionName"]["Ref"]] = (
            named["ExecutedVersion"],
            named["Resource"],
            stat["Stat"],
        )
    return found


def test_the_canary_sees_every_new_version_alone_and_by_share() -> None:
    stack = document("prod")
    alarms = dict(resources(stack, ALARM))
    looked_at = _by_version(alarms["CanaryErrors"]) | _by_version(alarms["AuthorizerErrors"])
    versions = {
        version["FunctionName"]["Ref"]: name
        for name, version in resources(stack, "AWS::Lambda::Version")
    }
    assert looked_at == {
        name: (
            {"Fn::GetAtt": [versions[name], "Version"]},
            {"Fn::Sub": f"${{{name}}}:live"},
            "Average",  # an average of 0 and 1 is the share
        )
        for name in ENDPOINTS | {"Authorizer"}
    }, "template.yaml: add the function's version to the metrics of CanaryErrors"
    assert len(alarms["CanaryErrors"]["Metrics"]) - 1 <= 10, (
        "split CanaryErrors: CloudWatch takes ten metrics in one alarm"
    )


def test_answered_errors_are_counted_by_share_and_by_number_over_all_routes() -> None:
    """`Errors` has only failures on our side; the gateway's 5xx also has what a client caused."""
    stack = document("prod")
    alarms = dict(resources(stack, ALARM))
    for name, function in (("FailedShare", "AVG"), ("FailedRequests", "SUM")):
        (query,) = alarms[name]["Metrics"]
        assert resolved(stack, query["Expression"]) == (
            f"SELECT {function}(Errors) FROM SCHEMA(TaskApi, route, service)"
            " WHERE service = 'local'"
        )
        assert query["Period"] == 60


def test_nothing_that_a_client_can_cause_takes_a_rollout_back() -> None:
    stack = document("prod")
    for name in set().union(*_watched(stack).values()):
        text = json.dumps(stack["Resources"][name])
        assert "AWS/ApiGateway" not in text, name
        assert "Unavailable" not in text, name


def test_the_way_out_asks_neither_an_alarm_nor_smoke() -> None:
    stack = document("prod", Rollout="AllAtOnce")
    assert not list(resources(stack, "AWS::CodeDeploy::DeploymentGroup"))
    assert not [
        name for name, each in resources(stack, "AWS::Lambda::Alias") if "UpdatePolicy" in each
    ]
    assert stack["Resources"]["SmokeTest"]["Condition"] == "IsWatched"
    condition = stack["Conditions"]["IsWatched"]["Fn::Equals"]
    assert condition == [{"Fn::FindInMap": ["Rollouts", {"Ref": "Rollout"}, "Watched"]}, "true"]
    watched = {
        name for name, each in stack["Mappings"]["Rollouts"].items() if each["Watched"] == "true"
    }
    assert watched == set(source()["Parameters"]["Rollout"]["AllowedValues"]) - {"AllAtOnce"}


def test_changed_code_or_another_secret_runs_the_migrations_and_ends_within_minutes(
    stack: dict[str, Any],
) -> None:
    schema = stack["Resources"]["Schema"]["Properties"]
    version = stack["Resources"][schema["Code"]["Ref"]]
    assert version["Type"] == "AWS::Lambda::Version"
    assert schema["SecretVersion"] == {"Ref": "DatabaseSecretVersion"}
    timeout = stack["Resources"]["Migrate"]["Properties"]["Timeout"]
    assert timeout < schema["ServiceTimeout"] <= 600


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_one_parameter_chooses_the_processors_of_all(architecture: str) -> None:
    stack = document("dev", Architecture=architecture)
    for _, properties in resources(stack, FUNCTION):
        assert resolved(stack, properties["Architectures"]) == [architecture]
    for _, layer in resources(stack, "AWS::Lambda::LayerVersion"):
        assert resolved(stack, layer["CompatibleArchitectures"]) == [architecture]


def test_snapshots_are_made_when_asked_for() -> None:
    for asked in ("None", "PublishedVersions"):
        stack = document("dev", SnapStart=asked)
        for name, properties in resources(stack, FUNCTION):
            assert resolved(stack, properties["SnapStart"])["ApplyOn"] == asked, name


def _reserved(stack: dict[str, Any]) -> dict[str, str | None]:
    """Return how many environments are reserved for each function."""
    return {
        name: resolved(stack, {"r": properties["ReservedConcurrentExecutions"]}).get("r")
        for name, properties in resources(stack, FUNCTION)
    }


def test_a_flood_without_credentials_cannot_use_up_the_account() -> None:
    assert not any(_reserved(document("dev")).values())  # a new account can reserve none
    for environment in ("staging", "prod"):
        reserved = _reserved(document(environment))
        kept = {name: int(number) for name, number in reserved.items() if number}
        assert set(kept) == PUBLIC_ENDPOINTS | {"Authorizer"}
        assert sum(kept.values()) <= 200


def test_the_tasks_functions_reserve_what_the_parameter_says() -> None:
    reserved = _reserved(document("dev", ReservedConcurrency="20"))
    kept = {name for name, number in reserved.items() if number == "20"}
    assert kept == set(FUNCTIONS) - PUBLIC_ENDPOINTS - {"Authorizer"}


# -- watching ------------------------------------------------------------------------------------


def test_every_alarm_tells_the_topic_and_has_its_section_in_the_runbook(
    stack: dict[str, Any],
) -> None:
    for name, alarm in resources(stack, ALARM):
        action = "InsufficientDataActions" if name == "SmokeMissing" else "AlarmActions"
        assert alarm[action] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}], name
        assert alarm["AlarmDescription"].endswith(f"docs/operations.md#{name.lower()}"), name
        assert f'<a id="{name.lower()}"></a>\n### {name}\n' in OPERATIONS, name


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


@pytest.mark.parametrize("minutes", ["5", "15", "60", "360"])
def test_the_alarms_on_smoke_follow_its_schedule(minutes: str) -> None:
    stack = document("prod", SmokeMinutes=minutes)
    schedule = stack["Resources"]["SmokeOften"]["Properties"]
    assert resolved(stack, schedule["ScheduleExpression"]) == f"rate({minutes} minutes)"
    for name in ("SmokeErrors", "SmokeMissing"):
        period = stack["Resources"][name]["Properties"]["Period"]
        table, key, column = period["Fn::FindInMap"]
        assert key == {"Ref": "SmokeMinutes"}
        assert stack["Mappings"][table][minutes][column] == int(minutes) * 60
    assert set(stack["Mappings"]["SmokePeriods"]) == {
        str(each) for each in source()["Parameters"]["SmokeMinutes"]["AllowedValues"]
    }


def test_a_missing_smoke_is_told_by_the_end_of_its_data_not_by_its_absence() -> None:
    """An alarm begins with insufficient data, so it tells nobody before the first run."""
    missing = document("prod")["Resources"]["SmokeMissing"]["Properties"]
    assert missing["TreatMissingData"] == "missing"
    assert "AlarmActions" not in missing
    assert missing["InsufficientDataActions"] == [{"Ref": "AlarmTopic"}]


def test_dev_wakes_its_database_less_often_than_production() -> None:
    dev, prod = (int(document(each)["_values"]["SmokeMinutes"]) for each in ("dev", "prod"))
    assert dev >= 60 > prod


def test_no_schedule_and_no_invocation_of_smoke_is_tried_again(stack: dict[str, Any]) -> None:
    for name, schedule in resources(stack, "AWS::Scheduler::Schedule"):
        assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0, name
    ((_, invocation),) = resources(stack, "AWS::Lambda::EventInvokeConfig")
    assert invocation["MaximumRetryAttempts"] == 0
    invoked = stack["Resources"]["SmokeOften"]["Properties"]["Target"]["Arn"]
    alias = stack["Resources"][invoked["Ref"]]["Properties"]
    assert (invocation["FunctionName"], invocation["Qualifier"]) == (
        alias["FunctionName"],
        alias["Name"],
    )
    assert source()["Outputs"]["SmokeFunction"]["Value"] == {"Ref": "Smoke.Alias"}


def test_expired_keys_are_purged_by_a_schedule(stack: dict[str, Any]) -> None:
    schedule = stack["Resources"]["MigratePurge"]["Properties"]
    assert schedule["ScheduleExpression"] == "rate(1 hour)"
    assert json.loads(schedule["Target"]["Input"]) == {"action": "purge"}


def test_refusals_are_counted_where_all_of_them_are_seen(stack: dict[str, Any]) -> None:
    """The gateway itself refuses a request without the header, and its access log still has it."""
    ((_, counted),) = resources(stack, "AWS::Logs::MetricFilter")
    ((_, stage),) = resources(stack, "AWS::ApiGatewayV2::Stage")
    line = json.loads(resolved(stack, stage["AccessLogSettings"]["Format"]))
    assert counted["LogGroupName"] == {"Ref": "AccessLog"}
    assert counted["FilterPattern"] == '{ ($.status = "401") || ($.status = "403") }'
    assert line["status"] == "$context.status"
    (metric,) = counted["MetricTransformations"]
    assert line[metric["Dimensions"][0]["Value"].removeprefix("$.")] == "local"
    alarm = stack["Resources"]["RefusedBurst"]["Properties"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (
        metric["MetricNamespace"],
        metric["MetricName"],
    )


# The members that the functions' lines have: the request's, Smoke's, Lambda's and Logger's.
REQUEST = {
    "message",
    "route",
    "status",
    "actor",
    "Latency.0",
    "Errors.0",
    "RoundTrips.0",
    "function_request_id",
}
SMOKE = {"outcome", "ms", "failed", "reason"}
PLATFORM = {"level", "message", "type", "record.metrics.initDurationMs"}


def test_a_saved_query_reads_only_what_is_written(stack: dict[str, Any]) -> None:
    """tests/functions/test_metrics.py shows that the line of a request has these members."""
    for name, query in resources(stack, "AWS::Logs::QueryDefinition"):
        assert members_read(query["QueryString"]) <= REQUEST | SMOKE | PLATFORM, name
        for group in query["LogGroupNames"]:
            assert stack["Resources"][group["Ref"]]["Type"] == "AWS::Logs::LogGroup"


# -- names, regions, domain ----------------------------------------------------------------------


# Names inside something that belongs to one stack: a function, a role, an API, a namespace.
INNER_NAMES = {
    ("AWS::ApiGatewayV2::Stage", "StageName", "$default"),
    ("AWS::Lambda::Alias", "Name", "live"),
}


def test_no_name_could_belong_to_two_stacks(stack: dict[str, Any]) -> None:
    """A literal name can exist only once in an account and region; a reference differs by stack."""
    literal = {
        (resource["Type"], key, value)
        for resource in stack["Resources"].values()
        for key, value in resource.get("Properties", {}).items()
        if key.endswith("Name") and isinstance(value, str) and key != "MetricName"
    }
    assert literal == INNER_NAMES
    for kind, key in (
        ("AWS::CloudWatch::Dashboard", "DashboardName"),
        ("AWS::Lambda::LayerVersion", "LayerName"),
        ("AWS::Logs::QueryDefinition", "Name"),
    ):
        for name, properties in resources(stack, kind):
            assert str(resolved(stack, properties[key])).startswith("local"), name


def test_what_counts_in_a_shared_namespace_names_its_stack(stack: dict[str, Any]) -> None:
    for name, alarm in resources(stack, ALARM):
        text = json.dumps(alarm)
        if "TaskApi" in text:
            assert "AWS::StackName" in text, name


def test_a_domain_of_ones_own_takes_the_default_address_place() -> None:
    certificate = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
    stack = document(
        "dev",
        DomainName="api.example.com",
        CertificateArn=certificate,
        DefaultEndpoint="closed",
    )
    ((_, api),) = resources(stack, "AWS::ApiGatewayV2::Api")
    (server,) = api["Body"]["servers"]
    endpoint = server["x-amazon-apigateway-endpoint-configuration"]
    assert resolved(stack, endpoint) == {"disableExecuteApiEndpoint": True}
    assert resolved(stack, stack["Outputs"]["ApiUrl"]["Value"]) == "https://api.example.com"
    judged = stack["Resources"]["SmokeTest"]["Properties"]["ApiUrl"]
    assert judged == stack["Outputs"]["ApiUrl"]["Value"]
    ((_, mapping),) = resources(stack, "AWS::ApiGatewayV2::ApiMapping")
    assert mapping["Stage"]["Ref"] in stack["Resources"]
    plain = document("dev")
    assert ".execute-api." in resolved(plain, plain["Outputs"]["ApiUrl"]["Value"])


def test_every_function_is_traced(stack: dict[str, Any]) -> None:
    for name, properties in resources(stack, FUNCTION):
        assert properties["TracingConfig"] == {"Mode": "Active"}, name
        assert "xray" not in (ROOT / "requirements" / "layer.txt").read_text()
