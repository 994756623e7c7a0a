"""SAM CLI from its own virtual environment, and the Python that a build needs."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.running import ROOT

RUNTIME = "3.13"
_SAM = ROOT / ".venv-sam" / "bin" / "sam"


def sam(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run SAM CLI without telemetry. Skip the test if it is not installed."""
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


def runtime_python() -> str:
    """Return a Python of the runtime's version for the byte code. Skip the test without one."""
    found = subprocess.run(
        [ROOT / "layers" / "find-python", RUNTIME], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return found.stdout.strip()
