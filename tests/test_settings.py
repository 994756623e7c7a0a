"""A setting of tasks is the same everywhere: model, template, variables, documentation."""

from __future__ import annotations

from typing import Any

import pytest

from deploy import template
from tasks.settings import Between, Settings
from tests.running import ROOT

TEMPLATE = template.parse(ROOT / "template.yaml")
VARIABLES = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
# The template computes it: the API may connect as the owner only where it has no login of its own.
COMPUTED = {"allow_owner_login"}
SET = [name for name in Settings._fields if name not in COMPUTED]


def _parameter(name: str) -> str:
    return name.title().replace("_", "")


def _declared(name: str) -> dict[str, Any]:
    """Return the template's parameter as the model declares the setting."""
    hint, default = Settings.__annotations__[name], Settings._field_defaults[name]
    sentence, *bounds = hint.__metadata__
    declared = {"Description": sentence, "Default": default}
    for bound in bounds:
        assert isinstance(bound, Between)
        declared |= {"MinValue": bound.least, "MaxValue": bound.most}
    if not bounds:
        declared["AllowedValues"] = list(hint.__origin__)
    return declared | {"Type": "Number" if bounds else "String"}


@pytest.mark.parametrize("name", SET)
def test_a_setting_is_a_parameter_of_the_template_with_a_variable_and_a_row(name: str) -> None:
    parameter = _parameter(name)
    assert TEMPLATE["Parameters"][parameter] == _declared(name)
    assert VARIABLES[name.upper()] == {"Ref": parameter}
    row = f"| `{parameter}` | {_declared(name)['Description']} |"
    assert row in (ROOT / "docs" / "deploying.md").read_text().splitlines()


def test_every_variable_of_a_setting_is_one_that_the_model_reads() -> None:
    others = {name for name in VARIABLES if name.startswith(("POWERTOOLS_", "PYTHON", "PYDANTIC_"))}
    assert {name.lower() for name in VARIABLES.keys() - others} == set(Settings._fields)
