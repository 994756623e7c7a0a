"""template.yaml is valid, and everything that it names exists."""

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.deploy.transformed import ENVIRONMENTS, document, functions
from tests.routes import ROUTES
from tests.running import ROOT
from tests.sam import sam

FUNCTIONS = set(functions())
REGIONS = ("eu-central-1", "us-east-1")


def test_sam_finds_nothing_wrong_with_the_template() -> None:
    result = sam("validate", "--lint")
    assert result.returncode == 0, result.stdout + result.stderr


def _cfn_lint(path: Path, *regions: str) -> None:
    program = ROOT / ".venv-sam" / "bin" / "cfn-lint"
    if not program.exists():
        pytest.skip("SAM CLI, which brings cfn-lint, is not installed: run `make .venv-sam/ready`")
    command = [
        str(program),
        "--non-zero-exit-code",
        "informational",
        "--regions",
        *regions,
        "--",
        str(path),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_cloudformation_gets_is_right_in_two_regions(environment: str, tmp_path: Path) -> None:
    """The source is linted as well, but a mistake of the translation shows only here."""
    translated = {key: value for key, value in document(environment).items() if key != "_values"}
    path = tmp_path / "template.json"
    path.write_text(json.dumps(translated))
    _cfn_lint(path, *REGIONS)


def test_the_template_of_the_edge_is_right_where_it_has_to_be_deployed() -> None:
    _cfn_lint(ROOT / "deploy" / "edge.yaml", "us-east-1")


def test_the_edge_limits_each_address_and_passes_everything_on_uncached() -> None:
    edge: dict[str, Any] = yaml_parse((ROOT / "deploy" / "edge.yaml").read_text())
    (rule,) = edge["Resources"]["Firewall"]["Properties"]["Rules"]
    assert rule["Action"] == {"Block": {}}
    assert rule["Statement"]["RateBasedStatement"]["AggregateKeyType"] == "IP"
    config = edge["Resources"]["Distribution"]["Properties"]["DistributionConfig"]
    assert config["WebACLId"] == {"Fn::GetAtt": ["Firewall", "Arn"]}
    behavior = config["DefaultCacheBehavior"]
    # https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
    assert behavior["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    assert behavior["OriginRequestPolicyId"] == "b689b0a8-53d0-40ab-baf2-68738e2966ac"
    assert {route.method for route in ROUTES} | {"OPTIONS"} <= set(behavior["AllowedMethods"])


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


def test_every_function_of_the_template_has_its_folder_and_the_other_way_round() -> None:
    folders = {name: ROOT / properties["CodeUri"] for name, properties in functions().items()}
    assert set(folders.values()) == {p.parent for p in (ROOT / "functions").glob("*/app.py")}
    for name, folder in folders.items():  # `sam build` finds the folder by the function's name
        assert folder.name == re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


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
