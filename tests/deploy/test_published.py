"""What is published of a function: tried again after a rollback, rolled back by hand, deleted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from deploy import rollback
from deploy.environments import DeployError, Environment, describe
from deploy.published import delete_old_versions, published
from deploy.rollback import refuse_moved, roll_back, undo
from deploy.template import FUNCTION
from deploy.versions import stamp

DEV = Environment("dev", "task-api-dev", {})
NAMES = ("Migrate", "Authorizer", "ListTasks", "GetTask")


class Stack:
    """A stack with some functions. moto has no aliases in a stack, and publishes anything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions: dict[str, str] = {}
        self._lambda, self._stacks = boto3.client("lambda"), boto3.client("cloudformation")
        self._stacks.create_stack(StackName=DEV.stack, TemplateBody=self._template())
        for name in NAMES:
            self.deploy(name, "1")

    def deploy(self, name: str, code: str, *, fails: bool = False) -> None:
        """Deploy one function as CloudFormation and Lambda do."""
        there = published(DEV.stack) if self._versions.get(name) else {}
        version = self.name(name, code)
        if version == self._versions.get(name):
            return
        function = self._physical(name)
        if there and there[name].versions[max(there[name].versions)] == version:
            raise AssertionError("A version for this Lambda function exists")
        self._lambda.update_function_configuration(FunctionName=function, Description=version)
        number = self._lambda.publish_version(FunctionName=function)["Version"]
        if fails:
            return
        alias = {"FunctionName": function, "Name": "live", "FunctionVersion": number}
        self._lambda.update_alias(**alias) if there else self._lambda.create_alias(**alias)
        self._versions[name] = version
        self._stacks.update_stack(StackName=DEV.stack, TemplateBody=self._template())

    def name(self, name: str, code: str) -> str:
        """Return what `make deploy` names the version."""
        (self._folder / "app.py").write_text(code)
        function: dict[str, Any] = {"CodeUri": ".", "Handler": name}
        template = {"Resources": {name: {"Type": FUNCTION, "Properties": function}}}
        there = published(DEV.stack) if name in self._versions else {}
        stamp(template, {}, self._folder, there)
        return str(function["AutoPublishCodeSha256"])

    def _physical(self, name: str) -> str:
        found = self._stacks.describe_stack_resource(StackName=DEV.stack, LogicalResourceId=name)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def _template(self) -> str:
        trust: dict[str, Any] = {"AssumeRolePolicyDocument": {"Statement": []}}
        role = {"Fn::GetAtt": ["Role", "Arn"]}
        code = {"Code": {"ZipFile": "x"}, "Handler": "x", "Runtime": "python3.13", "Role": role}
        resources = {n: {"Type": "AWS::Lambda::Function", "Properties": code} for n in NAMES}
        resources["Role"] = {"Type": "AWS::IAM::Role", "Properties": trust}
        # In the place of a version, for which moto would publish another one.
        topic = {"Type": "AWS::SNS::Topic"}
        versions = {f"{name}Version{v[:10]}": topic for name, v in self._versions.items()}
        return json.dumps({"Resources": resources | versions})


def _serving() -> dict[str, int]:
    return {name: each.serving for name, each in published(DEV.stack).items()}


@pytest.fixture
def stack(aws_endpoint: str, tmp_path: Path) -> Stack:
    """Return a stack that was deployed once."""
    assert aws_endpoint
    return Stack(tmp_path)


def test_a_build_that_was_rolled_back_can_be_deployed_again(stack: Stack) -> None:
    stack.deploy("ListTasks", "2", fails=True)
    assert _serving()["ListTasks"] == 1
    stack.deploy("ListTasks", "1")  # a revert: nothing has changed
    assert _serving()["ListTasks"] == 1
    stack.deploy("ListTasks", "2", fails=True)
    stack.deploy("ListTasks", "2")
    assert _serving()["ListTasks"] == 4
    stack.deploy("ListTasks", "2")  # the same once more is no change
    assert _serving()["ListTasks"] == 4
    stack.deploy("ListTasks", "1")  # a revert of what was deployed
    assert _serving()["ListTasks"] == 5


def test_a_deployment_deletes_what_no_rollback_needs(stack: Stack) -> None:
    for code in "234":
        stack.deploy("ListTasks", code)
    before = published(DEV.stack)
    stack.deploy("ListTasks", "5", fails=True)
    stack.deploy("ListTasks", "6")
    stack.deploy("GetTask", "2", fails=True)  # Lambda compares the next one with it
    delete_old_versions(before, published(DEV.stack))
    left = {name: set(each.versions) for name, each in published(DEV.stack).items()}
    assert left["ListTasks"] == {3, 4, 6}
    assert left["GetTask"] == {1, 2}
    assert left["Migrate"] == {1}


def test_a_rollback_moves_what_the_last_deployment_changed_and_can_be_undone(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.deploy("GetTask", "2")
    begun = datetime.now(UTC)  # moto does not keep the time of an update
    monkeypatch.setattr(
        rollback, "describe", lambda name: describe(name) | {"LastUpdatedTime": begun}
    )
    for name in ("Migrate", "Authorizer", "ListTasks"):
        stack.deploy(name, "2")
    before = _serving()
    roll_back(DEV, None)
    assert _serving() == before | {"Authorizer": 1, "ListTasks": 1}
    assert capsys.readouterr().out.splitlines()[:2] == [
        "ListTasks serves version 1 instead of 2",
        "Authorizer serves version 1 instead of 2",
    ]
    with pytest.raises(DeployError, match="FUNCTION=ListTasks,GetTask moves"):
        roll_back(DEV, None)  # everything is back already
    with pytest.raises(DeployError, match="CodeDeploy would refuse Authorizer, ListTasks"):
        refuse_moved(DEV, "Canary10Percent5Minutes", published(DEV.stack))
    undo(DEV)
    assert _serving() == before
    refuse_moved(DEV, "Canary10Percent5Minutes", published(DEV.stack))
    roll_back(DEV, "GetTask")
    assert _serving() == before | {"GetTask": 1}
    for unknown in ("Migrate", "gettask"):
        with pytest.raises(DeployError, match=f"no function {unknown} to move"):
            roll_back(DEV, unknown)


def test_a_deployment_at_once_moves_an_alias_that_somebody_moved(stack: Stack) -> None:
    stack.deploy("ListTasks", "2")
    roll_back(DEV, "ListTasks")
    before = published(DEV.stack)
    refuse_moved(DEV, "AllAtOnce", before)
    stack.deploy("ListTasks", "2")
    assert _serving()["ListTasks"] == 3
    stack.deploy("ListTasks", "3")
    delete_old_versions(before, published(DEV.stack))
    roll_back(DEV, "ListTasks")
    assert _serving()["ListTasks"] == 1  # the version that was rolled back is gone


def test_what_is_not_deployed_or_is_being_deployed_is_not_rolled_back(
    monkeypatch: pytest.MonkeyPatch, stack: Stack
) -> None:
    assert stack
    with pytest.raises(DeployError, match="task-api-x is not deployed"):
        roll_back(Environment("x", "task-api-x", {}), None)
    monkeypatch.setattr(rollback, "describe", lambda _: {"StackStatus": "UPDATE_IN_PROGRESS"})
    with pytest.raises(DeployError, match="cancel-update-stack"):
        roll_back(DEV, "ListTasks")
    with pytest.raises(DeployError, match="cancel-update-stack"):
        undo(DEV)
    assert _serving()["ListTasks"] == 1
