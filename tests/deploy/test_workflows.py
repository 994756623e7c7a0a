"""What the workflows promise: tests come first, one build without credentials goes everywhere."""

from __future__ import annotations

from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.running import ROOT

ENVIRONMENTS = ("dev", "staging", "prod")


WORKFLOWS = ROOT / ".github" / "workflows"


def _jobs(name: str) -> dict[str, Any]:
    jobs: dict[str, Any] = yaml_parse((WORKFLOWS / f"{name}.yml").read_text())["jobs"]
    return jobs


def _positions(steps: list[dict[str, Any]], *texts: str) -> list[int]:
    lines = [f"{step.get('uses', '')} {step.get('run', '')}" for step in steps]
    return [next(i for i, line in enumerate(lines) if text in line) for text in texts]


def test_nothing_is_deployed_before_the_tests_of_the_same_commit_have_passed() -> None:
    jobs = _jobs("deploy")
    assert jobs["test"]["uses"] == "$/.github/workflows/test.yml"
    assert set(jobs["dev"]["needs"]) == {"test", "build"}
    assert (jobs["staging"]["needs"], jobs["prod"]["needs"]) == ("dev", "staging")


def test_the_build_has_no_credentials_and_no_way_to_get_any() -> None:
    build = _jobs("deploy")["build"]
    assert build["permissions"] == {"contents": "read"}
    assert "environment" not in build
    assert not [step for step in build["steps"] if "aws-actions" in step.get("uses", "")]


def test_a_secret_is_used_on_main_only_and_before_any_code_has_run() -> None:
    with_secrets = [path for path in WORKFLOWS.glob("*.yml") if "secrets." in path.read_text()]
    assert [path.name for path in with_secrets] == ["neon.yml"]
    assert yaml_parse(with_secrets[0].read_text())[True] == {"push": {"branches": ["main"]}}
    first, *others = _jobs("neon")["neon"]["steps"]
    assert "uses" not in first
    assert "make" not in first["run"]
    assert "secrets." not in str(others)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_environment_gets_the_one_build(environment: str) -> None:
    job = _jobs("deploy")[environment]
    assert job["uses"] == "$/.github/workflows/promote.yml"
    assert job["with"] == {"environment": environment}
    upload = _jobs("deploy")["build"]["steps"][-1]["with"]
    steps = _jobs("promote")["promote"]["steps"]
    (download,) = (each["with"] for each in steps if "download-artifact" in each.get("uses", ""))
    assert (download["name"], download["path"]) == (upload["name"], upload["path"])
    (deploy,) = (each["run"] for each in steps if "make deploy" in each.get("run", ""))
    assert "BUILT=1" in deploy


def test_credentials_come_after_the_tools_and_smoke_comes_last() -> None:
    steps = _jobs("promote")["promote"]["steps"]
    texts = ("make .venv/ready", "configure-aws-credentials", "make deploy", "make smoke ENV")
    positions = _positions(steps, *texts)
    assert positions == sorted(positions)
    assert positions[-1] == len(steps) - 1
