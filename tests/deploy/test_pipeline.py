"""GitHub's role may do what a deployment does, and nothing else.

AWS itself says what it takes to create, read, change and delete a resource: in the schemas of the
resource types, which cfn-lint contains (SAM CLI installs it).
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from functools import cache
from typing import Any

import pytest

from deploy.template import parse
from tests.deploy.transformed import (
    ENVIRONMENTS,
    MONITORING,
    document,
    listed,
    resolved,
    resources,
)
from tests.running import ROOT

PIPELINE = ROOT / "deploy" / "pipeline.yaml"
VALUES = {
    "StackToDeploy": "task-api-dev",
    "EnvironmentName": "dev",
    "Repository": "owner/name",
    "SecretPrefix": "task-api/dev",
    "OidcProvider": "create",
    "AWS::StackName": "task-api-dev-pipeline",
}

CUSTOM = {"lambda:InvokeFunction"}  # a custom resource is a call of its function
# What `sam deploy` and deploy/*.py call, and what the gateway calls when it begins to log.
OWN = {
    "cloudformation:CreateChangeSet",
    "cloudformation:DeleteStack",
    "cloudformation:DescribeChangeSet",
    "cloudformation:DescribeStackEvents",
    "cloudformation:DescribeStacks",
    "cloudformation:ExecuteChangeSet",
    "cloudformation:GetTemplateSummary",
    "cloudformation:ListStackResources",
    "cloudformation:UpdateTerminationProtection",
    "lambda:GetAccountSettings",
    "lambda:InvokeFunction",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:UpdateLogDelivery",
    "s3:GetObject",
    "s3:PutObject",
    "secretsmanager:DescribeSecret",
    "secretsmanager:ListSecretVersionIds",
}
# What the schemas need for properties that template.yaml does not use.
UNUSED = [
    "ec2:*",  # a VPC
    "elasticfilesystem:*",
    "s3files:*",
    "kms:*",  # customer-managed keys
    "firehose:*",
    "s3:REST.PUT.OBJECT",
    "iam:*GroupPolicy",  # policies of groups and users
    "iam:*UserPolicy",
    "iam:*PermissionsBoundary",
    "lambda:*CodeSigningConfig",
    "lambda:AssociateRuntimeAlias",
    "lambda:PassCapacityProvider",
    "lambda:PutProvisionedConcurrencyConfig",
    "lambda:DeleteProvisionedConcurrencyConfig",
    "apigateway:*agResource",  # IAM knows no such action; tags are PUT and DELETE of /tags
    "codedeploy:RegisterOnPremisesInstance",
    "logs:PutDataProtectionPolicy",
    "logs:DeleteDataProtectionPolicy",
    "logs:PutIndexPolicy",
    "logs:DeleteIndexPolicy",
    "logs:PutBearerTokenAuthentication",
    "logs:PutLogGroupDeletionProtection",
    "logs:DeleteResourcePolicy",
    "logs:*KmsKey",
    "sns:PutDataProtectionPolicy",
]
USED_ALL_THE_SAME = {"lambda:GetFunctionCodeSigningConfig"}  # every read of a function asks for it


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    """Return the pipeline's template."""
    return parse(PIPELINE)


@cache
def _permissions() -> dict[str, set[str]]:
    """Return the permissions that each type needs; AWS may have a schema of it for each region."""
    folder = next((ROOT / ".venv-sam").glob("lib/python3*/site-packages/cfnlint"), None)
    if folder is None:
        pytest.skip("SAM CLI is not installed: run `make .venv-sam/ready`")
    found: dict[str, set[str]] = {}
    for path in (folder / "data" / "schemas" / "resources").glob("*.json"):
        schema = json.loads(path.read_text())
        for name, handler in schema.get("handlers", {}).items():
            if name != "list":
                found.setdefault(schema["typeName"], set()).update(handler["permissions"])
    return found


def _types() -> set[str]:
    translated = [MONITORING, *(document(environment) for environment in ENVIRONMENTS)]
    return {each["Type"] for one in translated for each in one["Resources"].values()}


def _needed_by(kind: str) -> set[str]:
    if kind.startswith("Custom::"):
        return CUSTOM
    actions = _permissions()[kind]
    unused = {a for a in actions for pattern in UNUSED if fnmatch(a, pattern)}
    used = actions - unused | actions & USED_ALL_THE_SAME
    return {action.replace("s3:getObject", "s3:GetObject") for action in used}  # IAM's spelling


def _statements(pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    (policy,) = pipeline["Resources"]["Deployer"]["Properties"]["Policies"]
    statements: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return statements


def _granted(pipeline: dict[str, Any]) -> set[str]:
    allowed = [each for each in _statements(pipeline) if each["Effect"] == "Allow"]
    return {action for each in allowed for action in listed(each["Action"])}


def _resources(pipeline: dict[str, Any], sid: str) -> list[str]:
    (statement,) = (each for each in _statements(pipeline) if each["Sid"] == sid)
    stack = pipeline | {"_values": VALUES}
    return [str(resolved(stack, each)) for each in listed(statement["Resource"])]


def test_each_type_of_resource_can_be_created_read_changed_and_deleted(
    pipeline: dict[str, Any],
) -> None:
    missing = {kind: _needed_by(kind) - _granted(pipeline) for kind in _types()}
    assert {kind: actions for kind, actions in missing.items() if actions} == {}


def test_nothing_is_granted_that_no_resource_and_no_command_needs(pipeline: dict[str, Any]) -> None:
    needed = {action for kind in _types() for action in _needed_by(kind)}
    assert _granted(pipeline) - needed - OWN == set()


def test_the_role_deploys_its_own_stack_and_no_other_ones(pipeline: dict[str, Any]) -> None:
    assert not [action for action in _granted(pipeline) if "*" in action]
    unlimited = [each["Sid"] for each in _statements(pipeline) if "*" in listed(each["Resource"])]
    assert unlimited == ["WithoutAResource"]
    shared = {"SamTransform", "ArtifactsStack", "Api", "WithoutAResource"}
    for statement in _statements(pipeline):
        for resource in _resources(pipeline, statement["Sid"]):
            is_own = "task-api-dev" in resource or "task-api/dev/" in resource
            is_plain = resource.endswith(":deploymentconfig:*")  # CodeDeploy's, read only
            assert is_own or is_plain or statement["Sid"] in shared, resource


def test_the_role_cannot_widen_itself(pipeline: dict[str, Any]) -> None:
    """The name of the role begins with the stack's name, too."""
    (deny,) = (each for each in _statements(pipeline) if each["Effect"] == "Deny")
    (resource,) = _resources(pipeline, deny["Sid"])
    own = "arn:aws:iam::123456789012:role/task-api-dev-pipeline-Deployer-1A2B3C"
    assert fnmatch(own, resource)
    assert fnmatch(own, _resources(pipeline, "Roles")[0])
    changes = {
        action for action in _granted(pipeline) if re.match(r"iam:.*RolePol|iam:Up.*Ro", action)
    }
    reads = {"iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"}
    assert changes - reads - {"iam:UpdateRoleDescription"} <= set(deny["Action"])


# For each type: the property with its name, the statement, and what the ARN has before the name.
NAMED = {
    "AWS::Lambda::Function": ("FunctionName", "Functions", ":function:"),
    "AWS::Lambda::LayerVersion": ("LayerName", "Layers", ":layer:"),
    "AWS::Logs::LogGroup": ("LogGroupName", "Logs", ":log-group:"),
    "AWS::CloudWatch::Alarm": ("AlarmName", "Alarms", ":alarm:"),
    "AWS::CloudWatch::Dashboard": ("DashboardName", "Dashboard", ":dashboard/"),
    "AWS::IAM::Role": ("RoleName", "Roles", ":role/"),
    "AWS::SNS::Topic": ("TopicName", "Topic", ":123456789012:"),
    "AWS::Scheduler::Schedule": ("Name", "Schedules", ":schedule/default/"),
    "AWS::CodeDeploy::Application": ("ApplicationName", "Rollouts", ":application:"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_every_name_in_the_stack_is_one_that_the_role_may_use(
    pipeline: dict[str, Any], kind: str
) -> None:
    """Without a given name CloudFormation makes one from the stack's and the resource's names."""
    api = document("staging")
    api = api | {"_values": api["_values"] | {"AWS::StackName": "task-api-dev"}}
    beside = MONITORING | {"_values": {"AWS::StackName": "", "Service": "task-api-dev"}}
    member, sid, before = NAMED[kind]
    patterns = [each.partition(before)[2] for each in _resources(pipeline, sid)]
    found = [
        (stack, f"{prefix}-{logical}-1A2B3C4D5E6F", properties)
        for stack, prefix in ((api, "task-api-dev"), (beside, "task-api-dev-monitoring"))
        for logical, properties in resources(stack, kind)
    ]
    assert found
    for stack, made, properties in found:
        given = str(resolved(stack, properties.get(member, made)))
        assert any(pattern and fnmatch(given, pattern) for pattern in patterns), given


def test_only_jobs_of_the_environment_in_the_repository_may_take_the_role(
    pipeline: dict[str, Any],
) -> None:
    role = pipeline["Resources"]["Deployer"]["Properties"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert set(trust["Condition"]) == {"StringEquals"}
    host = "token.actions.githubusercontent.com"
    conditions = resolved(pipeline | {"_values": VALUES}, trust["Condition"]["StringEquals"])
    assert conditions == {
        f"{host}:aud": "sts.amazonaws.com",
        f"{host}:sub": "repo:owner/name:environment:dev",
    }


def test_the_policy_fits_into_a_role(pipeline: dict[str, Any]) -> None:
    """IAM takes at most 10,240 characters of inline policies, without white space."""
    stack = pipeline | {"_values": VALUES | {"StackToDeploy": "task-api-production"}}
    text = json.dumps(resolved(stack, _statements(pipeline)), separators=(",", ":"))
    assert len(text) < 10_240
