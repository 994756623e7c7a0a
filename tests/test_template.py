"""The templates are valid where they are deployed, and the locked packages are verified."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.transformed import ENVIRONMENTS, document, functions
from tests.running import ROOT

REGIONS = ("eu-central-1", "us-east-1")


def _cfn_lint(paths: list[Path], *regions: str) -> None:
    program = ROOT / ".venv-sam" / "bin" / "cfn-lint"
    if not program.exists():
        pytest.skip("SAM CLI, which brings cfn-lint, is not installed: run `make .venv-sam/ready`")
    options = ("--non-zero-exit-code", "informational", "--regions", *regions)
    command = [str(program), *options, "--", *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_cloudformation_gets_is_right_in_two_regions(tmp_path: Path) -> None:
    """SAM's lint does not see a mistake of the translation."""
    paths = [tmp_path / f"{environment}.json" for environment in ENVIRONMENTS]
    for path in paths:
        left_out = ("_values", "Mappings")  # SAM has replaced what the mapping is for
        translated = {k: each for k, each in document(path.stem).items() if k not in left_out}
        path.write_text(json.dumps(translated))
    _cfn_lint(paths, *REGIONS)


def test_the_templates_beside_it_are_right_where_they_are_deployed() -> None:
    _cfn_lint([ROOT / "deploy" / "edge.yaml"], "us-east-1")
    beside = ("domain", "monitoring", "pipeline")
    _cfn_lint([ROOT / "deploy" / f"{name}.yaml" for name in beside], *REGIONS)


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
