"""The concurrent executions that an account has to allow."""

from __future__ import annotations

from samtranslator.yaml_helper import yaml_parse

from deploy.deployment import needed_executions
from deploy.environments import Environment

TEMPLATE = """
Parameters:
  Share: {Type: Number, Default: 0}
Conditions:
  Shares: !Not [!Equals [!Ref Share, "0"]]
Globals:
  Function:
    ReservedConcurrentExecutions: !If [Shares, !Ref Share, !Ref AWS::NoValue]
Resources:
  First: {Type: AWS::Serverless::Function, Properties: {}}
  Second: {Type: AWS::Serverless::Function, Properties: {}}
  Own: {Type: AWS::Serverless::Function, Properties: {ReservedConcurrentExecutions: !Ref OwnShare}}
  Topic: {Type: AWS::SNS::Topic}
"""


def _needed(name: str, own: str = "5", **parameters: str) -> int:
    environment = Environment(name, f"task-api-{name}", parameters, is_protected=name == "prod")
    return needed_executions(environment, yaml_parse(TEMPLATE.replace("!Ref OwnShare", own)))


def test_what_the_functions_reserve_comes_on_top_of_what_aws_keeps_free() -> None:
    assert _needed("dev", Share="20") == 20 + 20 + 5 + 100
    assert _needed("dev") == 5 + 100


def test_without_reservations_a_new_account_is_enough_for_all_but_production() -> None:
    none = "!Ref AWS::NoValue"
    assert [_needed(name, none) for name in ("dev", "staging", "prod")] == [10, 10, 100]
