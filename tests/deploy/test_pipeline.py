"""GitHub's role may do what a deployment does, and nothing else.

AWS itself says what it takes to create, read, change and delete a resource: in the schemas of the
resource types, which cfn-lint contains (SAM CLI installs it). moto deploys the template.
"""

from __future__ import annotations

import json
import re
import tomllib
from ast import literal_eval
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, NamedTuple

import boto3
import pytest
from moto import mock_aws

from tests.deploy.transformed import (
    ENVIRONMENTS,
    MONITORING,
    document,
    listed,
    resolved,
    resources,
)
from tests.running import ROOT

STACK = "task-api-dev"
VALUES = {
    "StackToDeploy": STACK,
    "EnvironmentName": "dev",
    "Repository": "owner/name",
    "SecretPrefix": "task-api/dev",
    "OidcProvider": "exists",
}
Statement = dict[str, Any]


class Deployed(NamedTuple):
    """What IAM has after the deployment of deploy/pipeline.yaml."""

    role: str
    trust: list[Statement]
    policy: list[Statement]
    boundary: str
    limits: list[Statement]
    aws: list[Statement]  # what AWS's policies for functions say


CUSTOM = {"lambda:InvokeFunction"}  # a custom resource is a call of its function
# What `sam deploy` and deploy/*.py call, and what the gateway does for its first API and its log.
OWN = """
    cloudformation:CreateChangeSet cloudformation:DeleteStack cloudformation:DescribeChangeSet
    cloudformation:DescribeStackEvents cloudformation:DescribeStacks cloudformation:ExecuteChangeSet
    cloudformation:GetTemplateSummary cloudformation:ListStackResources
    cloudformation:UpdateTerminationProtection iam:CreateServiceLinkedRole lambda:GetAccountSettings
    lambda:InvokeFunction logs:CreateLogDelivery logs:DeleteLogDelivery logs:GetLogDelivery
    logs:ListLogDeliveries logs:UpdateLogDelivery s3:GetObject s3:PutObject
    secretsmanager:DescribeSecret secretsmanager:ListSecretVersionIds
    """
# What the schemas need for properties that template.yaml does not use: a VPC, keys of one's own,
# policies of groups and users. The boundary stays, so nothing deletes it. IAM knows no action
# `apigateway:*agResource`; tags are PUT and DELETE of /tags.
UNUSED = """
    ec2:* elasticfilesystem:* s3files:* kms:* firehose:* s3:REST.PUT.OBJECT
    iam:*GroupPolicy iam:*UserPolicy iam:*UserPermissionsBoundary iam:DeleteRolePermissionsBoundary
    lambda:*CodeSigningConfig lambda:AssociateRuntimeAlias lambda:PassCapacityProvider
    lambda:PutProvisionedConcurrencyConfig lambda:DeleteProvisionedConcurrencyConfig
    apigateway:*agResource codedeploy:RegisterOnPremisesInstance
    logs:PutDataProtectionPolicy logs:DeleteDataProtectionPolicy logs:PutIndexPolicy
    logs:DeleteIndexPolicy logs:PutBearerTokenAuthentication logs:PutLogGroupDeletionProtection
    logs:DeleteResourcePolicy logs:*KmsKey sns:PutDataProtectionPolicy
    """
USED_ALL_THE_SAME = {"lambda:GetFunctionCodeSigningConfig"}  # every read of a function asks for it


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Deployed]:
    """Deploy the template, and yield what IAM then has."""
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        cloudformation, iam = boto3.client("cloudformation", "us-east-1"), boto3.client("iam")
        stack = f"{STACK}-pipeline"
        cloudformation.create_stack(
            StackName=stack,
            TemplateBody=(ROOT / "deploy" / "pipeline.yaml").read_text(),
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in VALUES.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}
        name = outputs["RoleArn"].rpartition("/")[2]
        inline = iam.get_role_policy(RoleName=name, PolicyName="deploy")["PolicyDocument"]
        yield Deployed(
            outputs["RoleArn"],
            iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"],
            literal_eval(inline)["Statement"],
            outputs["BoundaryArn"],
            _managed(iam, outputs["BoundaryArn"]),
            [each for arn in _of_aws() for each in _managed(iam, arn)],
        )


def _managed(iam: Any, arn: str) -> list[Statement]:
    """Return what a managed policy says in its current version."""
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
    statements: list[Statement] = found["Document"]["Statement"]
    return statements


def _of_aws() -> set[str]:
    roles = [role for _, role in resources(_stack(), "AWS::IAM::Role")]
    return {arn for role in roles for arn in resolved(_stack(), role.get("ManagedPolicyArns", []))}


@cache
def _stack(boundary: str = "") -> dict[str, Any]:
    """Return the API's stack, translated, with all that an environment can have."""
    stack = document("dev", Rollout="Canary10Percent5Minutes", PermissionsBoundary=boundary)
    name = "arn:aws:cloudformation:us-east-1:123456789012:stack/task-api-dev/1a2b"
    return stack | {"_values": stack["_values"] | {"AWS::StackName": STACK, "AWS::StackId": name}}


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
    unused = {a for a in actions for pattern in UNUSED.split() if fnmatchcase(a, pattern)}
    used = actions - unused | actions & USED_ALL_THE_SAME
    return {action.replace("s3:getObject", "s3:GetObject") for action in used}  # IAM's spelling


def _allowed(statements: list[Statement]) -> list[tuple[str, str, Statement]]:
    """Return each action with each resource that the statements allow it for."""
    return [
        (action, resource, each)
        for each in statements
        if each["Effect"] == "Allow"
        for action in listed(each["Action"])
        for resource in listed(each["Resource"])
    ]


def _granted(pipeline: Deployed) -> set[str]:
    return {action for action, _, _ in _allowed(pipeline.policy)}


def _resources(pipeline: Deployed, sid: str) -> list[str]:
    (statement,) = (each for each in pipeline.policy if each["Sid"] == sid)
    return listed(statement["Resource"])


def test_each_type_of_resource_can_be_created_read_changed_and_deleted(pipeline: Deployed) -> None:
    missing = {kind: _needed_by(kind) - _granted(pipeline) for kind in _types()}
    assert {kind: actions for kind, actions in missing.items() if actions} == {}


def test_nothing_is_granted_that_no_resource_and_no_command_needs(pipeline: Deployed) -> None:
    needed = {action for kind in _types() for action in _needed_by(kind)}
    assert _granted(pipeline) - needed - set(OWN.split()) == set()
    assert not [action for action in _granted(pipeline) if "*" in action]


def test_the_role_deploys_its_own_stack_and_no_other_ones(pipeline: Deployed) -> None:
    shared = {"SamTransform", "ArtifactsStack", "Api", "RoleOfTheGateway", "WithoutAResource"}
    for _, resource, statement in _allowed(pipeline.policy):
        is_plain = resource.endswith(":deploymentconfig:*")  # CodeDeploy's, read only
        if statement["Sid"] not in shared and not is_plain:
            other = re.sub(r"(task-api[-/]dev)", r"\g<1>2", resource)
            assert other != resource
            assert not fnmatchcase(other.replace("*", "1a2b"), resource), resource
    unlimited = {each["Sid"] for _, resource, each in _allowed(pipeline.policy) if resource == "*"}
    assert unlimited == {"WithoutAResource"}


def test_what_is_tagged_for_another_environment_is_out_of_reach(pipeline: Deployed) -> None:
    """An API has no name of its own, so that only its tag tells whose it is."""
    tag = "aws:ResourceTag/environment"
    (deny,) = (each for each in pipeline.policy if each["Action"] == "*")
    assert (deny["Effect"], deny["Resource"]) == ("Deny", "*")
    assert deny["Condition"] == {"Null": {tag: "false"}, "StringNotEquals": {tag: "dev"}}
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for name in ENVIRONMENTS:
        assert f"environment={name}" in settings[name]["deploy"]["parameters"]["tags"].split()


def test_the_role_cannot_widen_itself(pipeline: Deployed) -> None:
    """The name of the role begins with the stack's name, too."""
    assert fnmatchcase(pipeline.role, _resources(pipeline, "Roles")[0])
    deny = next(each for each in pipeline.policy if each["Sid"] == "NotThisRole")
    assert fnmatchcase(pipeline.role, deny["Resource"])
    writes = re.compile(r"iam:(Attach|Delete|Detach|Put|Update)\w*Role(?!Description)")
    changes = {action for action in _granted(pipeline) if writes.match(action)}
    assert changes <= set(deny["Action"])


# -- the boundary --------------------------------------------------------------------------------


def test_a_role_gets_rights_from_github_only_within_the_boundary(pipeline: Deployed) -> None:
    rights = re.compile(r"iam:(Attach|Create|Put)Role")
    found = [each for action, _, each in _allowed(pipeline.policy) if rights.match(action)]
    limit = {"StringEquals": {"iam:PermissionsBoundary": pipeline.boundary}}
    assert found
    assert all(each["Condition"] == limit for each in found)
    assert not {each for each in _granted(pipeline) if re.match(r"iam:\w+(?<!Role)Policy", each)}


def test_every_role_of_the_stack_has_the_boundary_where_it_is_set(pipeline: Deployed) -> None:
    for boundary in ("", pipeline.boundary):
        stack = _stack(boundary)
        for name, role in resources(stack, "AWS::IAM::Role"):
            found = resolved(stack, {"found": role["PermissionsBoundary"]})
            assert found == ({"found": boundary} if boundary else {}), name


def test_the_boundary_is_what_the_roles_do_and_no_more(pipeline: Deployed) -> None:
    policies = [
        policy["PolicyDocument"]["Statement"]
        for _, role in resources(_stack(), "AWS::IAM::Role")
        for policy in resolved(_stack(), role.get("Policies", []))
    ]
    own = {
        # CloudFormation puts the stack's name in front of a function's.
        (action, re.sub(rf":function:(?!{STACK})", f":function:{STACK}-", resource))
        for statements in policies
        for action, resource, _ in _allowed(statements)
    }
    limits = {(action, resource) for action, resource, _ in _allowed(pipeline.limits)}
    for action, resource in own:
        assert any(action == a and fnmatchcase(resource, r) for a, r in limits), (action, resource)
    of_aws = {action for action, _, _ in _allowed(pipeline.aws)}
    may = {action for action, _ in limits}
    assert of_aws - may == {"logs:CreateLogGroup"}  # the stack has made it
    by_key = {"kms:Decrypt"}  # allowed by AWS's keys, for secrets and variables
    assert may == {action for action, _ in own} | of_aws & may | by_key


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
    pipeline: Deployed, kind: str
) -> None:
    """Without a given name CloudFormation makes one from the stack's and the resource's names."""
    beside = MONITORING | {"_values": {"AWS::StackName": "", "Service": STACK}}
    member, sid, before = NAMED[kind]
    patterns = [each.partition(before)[2] for each in _resources(pipeline, sid)]
    found = [
        (stack, f"{prefix}-{logical}-1A2B3C4D5E6F", properties)
        for stack, prefix in ((_stack(), STACK), (beside, f"{STACK}-monitoring"))
        for logical, properties in resources(stack, kind)
    ]
    assert found
    for stack, made, properties in found:
        given = str(resolved(stack, properties.get(member, made)))
        assert any(pattern and fnmatchcase(given, pattern) for pattern in patterns), given


# -- who may take the role -----------------------------------------------------------------------

WORKFLOW = "owner/name/.github/workflows/promote.yml@refs/heads/main"
GOOD = {
    "aud": "sts.amazonaws.com",
    "sub": "repo:owner/name:environment:dev",
    "repository": "owner/name",
    "environment": "dev",
    "ref": "refs/heads/main",
    "job_workflow_ref": WORKFLOW,
}


TAKEN: list[dict[str, str]] = [
    {},
    {"sub": "repo:owner@123/name@456:environment:dev"},  # of a new repository
]
REFUSED = [
    {"ref": "refs/heads/feature"},
    {"ref": "refs/pull/7/merge"},
    {"job_workflow_ref": WORKFLOW.replace("promote", "test")},
    {"job_workflow_ref": WORKFLOW.replace("owner", "other")},
    {"sub": "repo:owner/name:environment:prod", "environment": "prod"},
    {"sub": "repo:owner/name:ref:refs/heads/main", "environment": ""},
    {"sub": "repo:owner/name2:environment:dev", "repository": "owner/name2"},
    {"sub": "repo:owner@1/other@2:environment:dev", "repository": "owner/other"},
    {"aud": "https://github.com/owner"},
]


@pytest.mark.parametrize("changed", TAKEN + REFUSED, ids=str)
def test_only_the_workflow_on_main_may_take_the_role(
    pipeline: Deployed, changed: dict[str, str]
) -> None:
    (trust,) = pipeline.trust
    asked = trust["Condition"]["StringEquals"] | trust["Condition"]["StringLike"]
    claims = {f"token.actions.githubusercontent.com:{k}": v for k, v in (GOOD | changed).items()}
    assert set(asked) == set(claims)
    passed = [any(fnmatchcase(claims[key], each) for each in listed(asked[key])) for key in asked]
    assert all(passed) == (changed in TAKEN)


def test_the_policies_fit(pipeline: Deployed) -> None:
    """IAM takes at most 10,240 characters of a role's, and 6,144 of a managed policy."""
    for statements, most in ((pipeline.policy, 10_240), (pipeline.limits, 6_144)):
        text = json.dumps(statements, separators=(",", ":"))
        assert len(text.replace(STACK, "task-api-production")) < most
