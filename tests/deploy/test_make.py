"""The deploy targets as a person or CI calls them: make, the real SAM CLI, and moto for AWS.

The template is a small one with the real parameters and outputs, because moto does not know SAM's
transform.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import boto3
import pytest

from deploy.environments import DeployError, sam_deploy
from deploy.template import parse
from tests.aws import REGION, SecretsManager
from tests.deploy.account import Account, account_in_front_of
from tests.running import ROOT
from tests.sam import runtime_python

pytestmark = pytest.mark.campaign

STACK, PRODUCTION = "task-api-dev", "task-api-prod"
API = "https://abc.execute-api.eu-central-1.amazonaws.com"
URL = "postgresql://owner:hush@ep-x-1-pooler.eu-central-1.aws.neon.tech/tasks?sslmode=require"
SHARED = ("Makefile", "deploy", "functions", "local", "layers", "template.yaml")
INSTALLED = (".venv", ".venv-sam", "requirements")


@pytest.fixture
def account(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Return an empty account, which this process and its children use as AWS."""
    for name in ("DATABASE_URL", "MIGRATION_URL", "JWT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with account_in_front_of(aws_endpoint) as found:
        for name, value in found.settings.items():
            monkeypatch.setenv(name, value)
        # SAM CLI's bucket for artifacts, because moto lacks some calls that make it.
        template = {
            "Resources": {"SamCliSourceBucket": {"Type": "AWS::S3::Bucket"}},
            "Outputs": {"SourceBucket": {"Value": {"Ref": "SamCliSourceBucket"}}},
        }
        boto3.client("cloudformation").create_stack(
            StackName="aws-sam-cli-managed-default",
            TemplateBody=json.dumps(template),
            Tags=[{"Key": "ManagedStackSource", "Value": "AwsSamCli"}],
        )
        yield found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of this repository with a small template that is already built."""
    if not (ROOT / ".venv-sam" / "ready").exists():
        pytest.skip("SAM CLI is not installed: run `make .venv-sam/ready`")
    for name in (*SHARED, *INSTALLED):
        (tmp_path / name).symlink_to(ROOT / name)
    text = (
        (ROOT / "samconfig.toml").read_text().replace('alarm_email = ""', 'alarm_email = "a@b.c"')
    )
    text = re.sub("MigrationSecret = .*\n", "", text)  # the tests have no database
    (tmp_path / "samconfig.toml").write_text(text)
    built = tmp_path / ".aws-sam" / "build"
    built.mkdir(parents=True)
    (built / "template.yaml").write_text(json.dumps(_small_template()))
    return tmp_path


_TELLING = """#!/bin/sh
printf "%s\\n" "$@" >> seen
env >> seen
for each in "$@"; do
  case $each in file://*) cat "${each#file://}" >> seen; echo >> seen;; esac
done
"""


@pytest.fixture
def telling_sam(project: Path) -> Path:
    """Return a program that takes SAM CLI's place and writes down how it was called."""
    program = project / "telling-sam"
    program.write_text(_TELLING)
    program.chmod(0o755)
    return program


def _small_template(*topics: str) -> dict[str, Any]:
    parameters = parse(ROOT / "template.yaml")["Parameters"]
    outputs: dict[str, Any] = {
        "ApiUrl": API,
        "SmokeFunction": "task-api-Smoke",
    }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": json.loads(json.dumps(parameters)),
        "Resources": {name: {"Type": "AWS::SNS::Topic"} for name in ("Topic", *topics)},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }


def _deployed(stack: str, secrets_manager: SecretsManager) -> None:
    """Make an environment as an earlier deployment left it."""
    environment = stack.removeprefix("task-api-")
    secrets_manager.create(f"task-api/{environment}/database", URL)
    secrets_manager.create(f"task-api/{environment}/jwt", "x" * 64)
    boto3.client("cloudformation").create_stack(
        StackName=stack, TemplateBody=json.dumps(_small_template("Log"))
    )


def _make(
    project: Path, *arguments: str, typed: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=project,
        env={name: value for name, value in (os.environ | environment).items() if value},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


def _stacks() -> set[str]:
    found = boto3.client("cloudformation").describe_stacks()["Stacks"]
    return {each["StackName"] for each in found} - {"aws-sam-cli-managed-default"}


def _secrets(secrets_manager: SecretsManager) -> set[str]:
    return {each["Name"] for each in secrets_manager.client.list_secrets()["SecretList"]}


# -- deploy --------------------------------------------------------------------------------------


HOSTILE = {
    "JwtIssuers": '[{"issuer": "https://a.example/x y", "audience": "a,  b", "algorithms":'
    ' ["ES256"], "jwks_url": "https://a.example/k?a=b&c"}]',
    "JwtIssuer": """it's a "quoted" \\a = : # {} ü 😀 $HOME `id` %s""",
    "JwtAudience": "a , b",
    "JwtSubjects": "file:///etc/hosts",
}


def test_a_deployment_carries_any_value_and_without_its_line_the_default_returns(
    project: Path, account: Account, secrets_manager: SecretsManager
) -> None:
    """SAM CLI's real parser reads them, and would keep the previous value of what is left out."""
    _deployed(STACK, secrets_manager)
    _make_stack(f"{STACK}-monitoring")  # when the environment had an alarm_email
    settings = project / "samconfig.toml"
    plain = settings.read_text()
    lines = "".join(f"{name} = {_toml(value)}\n" for name, value in HOSTILE.items())
    settings.write_text(
        plain.replace('EnvironmentName = "dev"\n', f'EnvironmentName = "dev"\n{lines}')
    )
    said = _deploy(project)
    assert said[:2] == [
        f"Stack {STACK} in account 123456789012, region {REGION}",
        "This updates it:",
    ]
    assert f"  try it:     curl --fail {API}/health" in said
    left = f"{STACK}-monitoring"
    assert f"{left} is still there: `sam delete --stack-name {left}` deletes it." in said
    values = _parameters(STACK)
    assert {name: values[name] for name in HOSTILE} == HOSTILE
    settings.write_text(plain)
    _deploy(project)
    defaults = parse(ROOT / "template.yaml")["Parameters"]
    values = _parameters(STACK)
    assert {n: values[n] for n in HOSTILE} == {n: defaults[n]["Default"] for n in HOSTILE}
    assert account.protected == {}


def _toml(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _deploy(project: Path, *arguments: str) -> list[str]:
    """Deploy to `dev` what is built, and return the lines that make printed."""
    result = _make(project, "deploy", "ENV=dev", *(arguments or ["BUILT=1"]))
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()


def _parameters(stack: str) -> dict[str, str]:
    (found,) = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}


@pytest.mark.parametrize("value", ["'a'", r"a\ b"])
def test_a_value_that_sam_cli_would_change_is_refused(value: str) -> None:
    with pytest.raises(DeployError, match="quotation marks or backslashes of JwtIssuer"):
        sam_deploy({"JwtIssuer": value})


@pytest.mark.parametrize(
    ("old", "new", "environment", "sentence"),
    [
        ("LogRetention", "LogRetension", "dev", "template.yaml has no parameter LogRetension"),
        (
            'LogRetention = "7"',
            """JwtIssuers = '[{"secret": "x"}]'""",
            "dev",
            "JwtIssuers is plain",
        ),
        (
            'LogRetention = "7"',
            """JwtIssuers = '[{"issuer": "https://a.example"}]'""",
            "dev",
            "The authorizer would not start: JWT_ISSUERS[0]",
        ),
        ("a@b.c", "", "staging", "Nobody is told of the alarms of staging"),
    ],
)
def test_settings_that_cannot_be_deployed_are_refused_before_anything_is_changed(
    project: Path,
    account: Account,
    secrets_manager: SecretsManager,
    old: str,
    new: str,
    environment: str,
    sentence: str,
) -> None:
    settings = project / "samconfig.toml"
    settings.write_text(settings.read_text().replace(old, new))
    result = _make(project, "deploy", f"ENV={environment}", "BUILT=1")
    assert result.stderr.startswith(sentence)
    assert account.templates == []
    assert _secrets(secrets_manager) == set()


def test_what_is_deployed_is_the_build_with_its_versions_named(
    project: Path, account: Account, secrets_manager: SecretsManager
) -> None:
    """AWS gets all three: what `sam build` made, the versions' names, what `sam deploy` sent."""
    runtime_python()
    _deployed(STACK, secrets_manager)
    _write_toy(project)
    assert "Build Succeeded" in "\n".join(_deploy(project, "ENV=dev"))
    toy = account.templates[-1]["Resources"]["Authorizer"]["Properties"]
    assert toy["CodeUri"].startswith("s3://aws-sam-cli-managed-default-")
    assert re.fullmatch("[0-9a-f]{64}", toy["AutoPublishCodeSha256"])


def _write_toy(project: Path) -> None:
    """Replace the real template by one with a single function."""
    template = _small_template()
    template["Transform"] = "AWS::Serverless-2016-10-31"
    template["Resources"]["Authorizer"] = {
        "Type": "AWS::Serverless::Function",
        "Metadata": {"BuildMethod": "makefile"},
        "Properties": {
            "CodeUri": "toy",
            "Handler": "app.handler",
            "Runtime": "python3.13",
            "Environment": {"Variables": {"JWT_SECRET_ID": "task-api/dev/jwt"}},
        },
    }
    (project / "template.yaml").unlink()
    (project / "template.yaml").write_text(json.dumps(template))
    (project / "toy").mkdir()
    (project / "toy" / "app.py").write_text("def handler(event, context): ...\n")
    (project / "toy" / "Makefile").write_text("build-Authorizer:\n\tcp app.py $(ARTIFACTS_DIR)\n")


def test_a_deployment_ignores_exported_secrets_and_names_the_version_of_the_stored_one(
    project: Path, account: Account, secrets_manager: SecretsManager, telling_sam: Path
) -> None:
    runtime_python()  # this deployment builds, too
    _deployed(STACK, secrets_manager)
    other = URL.replace("hush", "leaked")
    given = {"DATABASE_URL": other, "MIGRATION_URL": other, "JWT_SECRET": "leaked" * 8}
    result = _make(project, "deploy", "ENV=dev", f"SAM={telling_sam}", **given)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in given:
        assert f"{name} is set in this shell and ignored" in result.stdout
    seen = (project / "seen").read_text()
    assert "leaked" not in seen + result.stdout + result.stderr
    assert {"build", "deploy", "ARCHITECTURE=x86_64"} <= set(seen.splitlines())
    described = secrets_manager.client.describe_secret(SecretId="task-api/dev/database")
    (current,) = described["VersionIdsToStages"]
    (passed,) = _given(seen)
    assert re.fullmatch(rf"[\d-]+T[\d:]+Z/{current}", passed["DatabaseSecretVersion"])
    assert secrets_manager.text("task-api/dev/database") == URL
    assert account.protected == {}


def test_production_is_protected_and_monitored_once_it_is_deployed(
    project: Path, account: Account, secrets_manager: SecretsManager, telling_sam: Path
) -> None:
    _deployed(PRODUCTION, secrets_manager)
    _make_stack(f"{PRODUCTION}-monitoring", DashboardUrl="https://console.example/dashboard")
    confirm = "CONFIRM=--no-confirm-changeset"
    result = _make(project, "deploy", "ENV=prod", "BUILT=1", confirm, f"SAM={telling_sam}")
    assert result.returncode == 0, result.stdout + result.stderr
    seen = (project / "seen").read_text()
    assert "\n--no-confirm-changeset\n" in seen
    assert "\nbuild\n" not in seen
    assert account.protected == {PRODUCTION: True}
    own, beside = _given(seen)
    assert own["Rollout"] == "Canary10Percent5Minutes"
    topic = boto3.client("cloudformation").describe_stack_resource(
        StackName=PRODUCTION, LogicalResourceId="Log"
    )["StackResourceDetail"]["PhysicalResourceId"]
    assert beside == {
        "Service": PRODUCTION,
        "AlarmEmail": "a@b.c",
        "SmokeMinutes": "60",  # of the stack as it is: nothing was deployed
        "AccountConcurrency": "1000",
        "Log": topic,
    }
    assert f"{PRODUCTION} was not changed." in result.stdout
    assert result.stdout.splitlines()[-1] == "  dashboard:  https://console.example/dashboard"


def _given(seen: str) -> list[dict[str, str]]:
    """Return the parameters of each `sam deploy`, as `telling_sam` wrote them down."""
    return [json.loads(each) for each in re.findall(r"^\{.*\}$", seen, re.M)]


def _make_stack(name: str, **outputs: str) -> None:
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }
    boto3.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))


def test_a_change_set_that_was_declined_is_no_deployment(
    project: Path, account: Account, secrets_manager: SecretsManager, telling_sam: Path
) -> None:
    secrets_manager.create("task-api/prod/database", URL)
    result = _make(project, "deploy", "ENV=prod", "BUILT=1", f"SAM={telling_sam}")
    assert f"Nothing was deployed: {PRODUCTION} has no outputs." in result.stderr
    assert "This creates it:" in result.stdout
    assert account.protected == {}


@pytest.mark.parametrize(
    ("environment", "held", "executions", "unreserved", "sentence"),
    [
        ("dev", None, 9, 9, "allows 9 concurrent Lambda executions in this region, and task-a"),
        ("staging", None, 250, 169, "needs 1 more"),  # 50 + 2 x 10 and AWS's 100; others have 81
        ("staging", "50", 250, 100, None),  # this stack has them already
    ],
)
def test_a_quota_that_is_too_small_is_said_before_anything_is_changed(
    project: Path,
    account: Account,
    secrets_manager: SecretsManager,
    telling_sam: Path,
    environment: str,
    held: str | None,
    executions: int,
    unreserved: int,
    sentence: str | None,
) -> None:
    account.executions, account.unreserved = executions, unreserved
    stack = f"task-api-{environment}"
    secrets_manager.create(f"task-api/{environment}/database", URL)
    if held:
        given = {"AuthorizerConcurrency": held, "PublicConcurrency": "10"}
        boto3.client("cloudformation").create_stack(
            StackName=stack,
            TemplateBody=json.dumps(_small_template("Log")),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()],
        )
    result = _make(project, "deploy", f"ENV={environment}", "BUILT=1", f"SAM={telling_sam}")
    assert (sentence or "") in result.stderr
    assert (project / "seen").exists() == (sentence is None)


def test_a_first_deployment_without_a_connection_string_changes_nothing(
    project: Path, account: Account, secrets_manager: SecretsManager
) -> None:
    result = _make(project, "deploy", "ENV=dev", "BUILT=1")
    assert "run `make secrets` at a terminal" in result.stderr
    assert account.invoked == []
    assert _stacks() == _secrets(secrets_manager) == set()


# -- secrets -------------------------------------------------------------------------------------


NEW = URL.replace("hush", "hush-hush")


@pytest.mark.parametrize(
    ("command", "typed", "left"),
    [
        (("secrets",), f"{NEW}\n", {"database": NEW, "jwt": "x" * 64}),
        (("secrets", "ROTATE=jwt"), "\n", {"database": URL, "jwt": ANY}),
        (("destroy",), "", {}),
    ],
    ids=["connection string", "tokens' secret", "destroy"],
)
def test_what_customers_use_changes_only_after_the_stacks_name(
    project: Path,
    account: Account,
    secrets_manager: SecretsManager,
    command: tuple[str, ...],
    typed: str,
    left: dict[str, Any],
) -> None:
    def state() -> tuple[bool, dict[str, str]]:
        names = _secrets(secrets_manager)
        texts = {name.rpartition("/")[2]: secrets_manager.text(name) for name in names}
        return PRODUCTION in _stacks(), texts

    _deployed(PRODUCTION, secrets_manager)
    before = state()
    result = _make(project, *command, "ENV=prod", typed=f"{typed}yes\n")
    assert result.stderr.startswith(f"Nothing was changed: the answer was not {PRODUCTION}.")
    assert (state(), account.protected) == (before, {})
    result = _make(project, *command, "ENV=prod", typed=f"{typed}{PRODUCTION}\n")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "hush" not in result.stdout + result.stderr
    after = state()
    assert after == (bool(left), left)
    assert after != before  # which ANY alone would not show
    assert account.protected == ({} if left else {PRODUCTION: False})


def test_a_rotation_keeps_the_tokens_former_secret_as_the_version_before(
    project: Path, account: Account, secrets_manager: SecretsManager
) -> None:
    """A secret that the authorizer would refuse is not stored and not shown."""
    _deployed(STACK, secrets_manager)
    given = "typed-by-a-person-0123456789-abcdefghij"
    for typed, before in ((given, "x" * 64), ("", given)):
        result = _make(project, "secrets", "ENV=dev", "ROTATE=jwt", typed=f"{typed}\n")
        assert result.returncode == 0, result.stderr
        current = secrets_manager.text("task-api/dev/jwt")
        assert current == typed or not typed
        assert current not in result.stdout + result.stderr
        assert _previous(secrets_manager, "task-api/dev/jwt") == before
    result = _make(project, "secrets", "ENV=dev", "ROTATE=jwt", typed="hush" * 9 + "\n")
    assert "The secret has to be random" in result.stderr
    assert "hush" not in result.stdout + result.stderr
    assert secrets_manager.text("task-api/dev/jwt") == current
    assert secrets_manager.text("task-api/dev/database") == URL
    assert account.invoked == []


def _previous(secrets_manager: SecretsManager, name: str) -> str:
    stage = {"SecretId": name, "VersionStage": "AWSPREVIOUS"}
    return str(secrets_manager.client.get_secret_value(**stage)["SecretString"])


# -- pipeline ------------------------------------------------------------------------------------


def test_make_pipeline_trusts_github_once_and_says_what_to_tell_it(
    project: Path, account: Account, telling_sam: Path
) -> None:
    role = "arn:aws:iam::123456789012:role/task-api-dev-pipeline-Deployer-1A2B"
    boundary = "arn:aws:iam::123456789012:policy/task-api-dev-pipeline-Boundary-1A2B"
    _make_stack("task-api-dev-pipeline", RoleArn=role, BoundaryArn=boundary)
    for provider in ("create", "exists"):
        result = _make(project, "pipeline", f"SAM={telling_sam}", typed="owner/name\n")
        assert result.returncode == 0, result.stderr
        said = {f"  AWS_ROLE_ARN={role}", f'  PermissionsBoundary = "{boundary}"'}
        assert said <= set(result.stdout.splitlines())
        given = _given((project / "seen").read_text())[-1]
        assert (given["Repository"], given["OidcProvider"]) == ("owner/name", provider)
        if provider == "create":
            boto3.client("iam").create_open_id_connect_provider(
                Url="https://token.actions.githubusercontent.com"
            )
    assert account.invoked == []


def test_make_pipeline_refuses_what_is_no_repository(project: Path, account: Account) -> None:
    result = _make(project, "pipeline", "REPOSITORY=https://github.com/owner/name")
    assert "is no GitHub repository: give it as owner/name" in result.stderr
    assert account.invoked == []


# -- smoke ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_failing", "status"), [(False, 0), (True, 2)])
def test_make_smoke_invokes_smoke_prints_its_report_and_reads_no_secret(
    project: Path,
    account: Account,
    secrets_manager: SecretsManager,
    is_failing: bool,
    status: int,
) -> None:
    _deployed(STACK, secrets_manager)
    account.is_failing = is_failing
    account.report = {"outcome": "failed" if is_failing else "ok", "ms": 12.5}
    result = _make(project, "smoke", "ENV=dev")
    assert result.returncode == status, result.stderr
    assert account.invoked == ["task-api-Smoke"]
    target, _, report = result.stdout.partition("\n")
    assert target.startswith(f"Stack {STACK} in ")
    assert json.loads(report) == account.report


@pytest.mark.usefixtures("account")
def test_make_smoke_of_an_environment_that_is_not_deployed_says_so(project: Path) -> None:
    result = _make(project, "smoke", "ENV=staging")
    assert result.stderr.startswith("There is no stack task-api-staging")
