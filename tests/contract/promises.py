"""Schemathesis, which checks an API against all that its specification promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.contract.client import Client
from tests.running import ROOT

ARTIFACTS = ROOT / "artifacts"
CONFIGURATION = ROOT / "tests" / "contract" / "schemathesis.toml"


def schemathesis(client: Client, folder: Path, *options: str, report: str) -> int:
    """Run Schemathesis with all checks and return the number of requests.

    Raise AssertionError for a broken promise. There is one worker: the recursion limit belongs to
    the whole process up to Python 3.11, and Hypothesis changes it in each thread.
    """
    user = client.other("schemathesis")
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
        "TOKEN": user.token(exp=4102444800),
    }
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(CONFIGURATION), "run", "--generation-database", "none"),
        *("--checks", "all", "--workers", "1", "--no-color", "--continue-on-failure"),
        # An HTTP API has no 405: for a method without a route it answers 404. A deletion can be
        # replayed, so schemathesis_hooks.py has its own version of that check.
        *("--exclude-checks", "unsupported_method,use_after_free"),
        *("--report", "junit", "--report-junit-path", str(ARTIFACTS / report)),
        *(*options, f"{client.base_url}/openapi.json"),
    ]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    generated = re.search(r"([\d,]+) generated", done.stdout)
    assert generated, done.stdout
    return int(generated[1].replace(",", ""))
