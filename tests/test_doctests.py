"""Every example in a docstring of the layer gives what it says."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.running import ROOT

LAYER = ROOT / "layers" / "shared"
MODULES = sorted(
    ".".join(path.relative_to(LAYER).with_suffix("").parts)
    for path in LAYER.rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", [*MODULES, "local.specification.requests"])
def test_the_examples_of_a_module_give_what_they_say(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
