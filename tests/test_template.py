"""template.yaml is valid, and what it names is there."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.running import ROOT
from tests.sam import sam

FUNCTIONS = {
    "ListTasks",
    "CreateTask",
    "GetTask",
    "UpdateTask",
    "DeleteTask",
    "ToggleTask",
    "Authorizer",
    "Docs",
    "Health",
    "Migrate",
    "Smoke",
}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The template as plain data."""
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return parsed


def _functions(template: dict[str, Any]) -> dict[str, Any]:
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def test_sam_finds_nothing_wrong_with_the_template() -> None:
    result = sam("validate", "--lint")
    assert result.returncode == 0, result.stdout + result.stderr


def _policy(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = ROOT / ".venv-policy" / "bin" / program
    if not path.exists():
        pytest.skip("the policy checkers are not installed: run `make .venv-policy/ready`")
    return subprocess.run([path, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_template_follows_the_policy_but_for_what_is_justified() -> None:
    result = _policy("checkov", "--config-file", ".checkov.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_exception_from_the_policy_has_its_reason() -> None:
    lines = (ROOT / ".checkov.yaml").read_text().splitlines()
    for before, line in pairwise(lines):
        if line.strip().startswith("- CKV"):
            assert before.strip().startswith("#"), line


def test_the_workflows_are_hardened() -> None:
    result = _policy("zizmor", "--quiet", "--offline", ".github/workflows")
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_action_is_pinned_by_its_commit() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for action in re.findall(r"uses: (?!\$/)(.+)", path.read_text()):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", action), action


def test_every_function_of_the_template_has_its_folder_and_the_other_way_round(
    template: dict[str, Any],
) -> None:
    functions = _functions(template)
    assert set(functions) >= FUNCTIONS
    folders = {Path(properties["CodeUri"]) for properties in functions.values()}
    assert {ROOT / folder for folder in folders} == {
        path.parent for path in (ROOT / "functions").glob("*/app.py")
    }


def test_no_lock_file_names_a_package_host() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        assert "://" not in path.read_text(), path.name


def test_every_locked_package_has_its_hashes() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert text.count("==") <= text.count("--hash=sha256:"), path.name


def test_the_specification_is_what_is_served() -> None:
    result = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-m", "local.specification", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
