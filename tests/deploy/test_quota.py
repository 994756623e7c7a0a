"""The concurrent executions that an account has to allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import quota
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


@pytest.fixture(autouse=True)
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a template whose functions share a reservation, or have one each."""
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE.replace("!Ref OwnShare", "5"))
    monkeypatch.setattr(quota, "_TEMPLATE", path)
    return path


def _needed(name: str, **parameters: str) -> int:
    environment = Environment(name, f"task-api-{name}", parameters, is_protected=name == "prod")
    return quota.needed_executions(environment)


def test_what_the_functions_reserve_comes_on_top_of_what_aws_keeps_free() -> None:
    assert _needed("dev", Share="20") == 20 + 20 + 5 + 100
    assert _needed("dev") == 5 + 100


def test_without_reservations_a_new_account_is_enough_for_all_but_production(
    template: Path,
) -> None:
    template.write_text(TEMPLATE.replace("!Ref OwnShare", "!Ref AWS::NoValue"))
    assert (_needed("dev"), _needed("staging"), _needed("prod")) == (10, 10, 100)
