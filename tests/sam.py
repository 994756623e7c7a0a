"""SAM CLI, from its own virtual environment."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.running import ROOT

_SAM = ROOT / ".venv-sam" / "bin" / "sam"


def sam(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run SAM CLI without telemetry. Skips the test when it is not installed."""
    if not _SAM.exists():
        pytest.skip("SAM CLI is not installed: run `make .venv-sam/ready`")
    environment = os.environ | {
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return subprocess.run(
        [_SAM, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
