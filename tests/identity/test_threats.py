"""The table of threats in docs/identity.md names only tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.running import ROOT

PAGE = (ROOT / "docs" / "identity.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.partition("## Threats")[2].partition("### ")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| threat ")
]
FILES = list((ROOT / "tests").rglob("test_*.py"))
TESTS = {path.stem for path in FILES} | {
    node.name
    for path in FILES
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.FunctionDef)
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_threat_has_a_test_that_exists(row: list[str]) -> None:
    named = re.findall(r"`(test_\w+)(\.\.\.)?`", row[3])
    assert named
    for name, dots in named:
        assert name in TESTS or (dots and any(each.startswith(name) for each in TESTS)), name
