"""The templates are valid where they are deployed, and the locked packages are verified."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.transformed import document, functions
from tests.running import ROOT


def test_every_template_is_right_in_two_regions(tmp_path: Path) -> None:
    """SAM's lint does not see a mistake of the translation."""
    program = ROOT / ".venv-sam" / "bin" / "cfn-lint"
    if not program.exists():
        pytest.skip("SAM CLI, which brings cfn-lint, is not installed: run `make .venv-sam/ready`")
    left_out = ("_values", "Mappings")  # SAM has replaced what the mapping is for
    translated = {k: each for k, each in document("prod").items() if k not in left_out}
    (tmp_path / "prod.json").write_text(json.dumps(translated))
    beside = (
        ROOT / "deploy" / f"{name}.yaml" for name in ("edge", "domain", "monitoring", "pipeline")
    )
    options = ("--non-zero-exit-code", "informational", "--regions", "eu-central-1", "us-east-1")
    command = [str(program), *options, "--", str(tmp_path / "prod.json"), *map(str, beside)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


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
