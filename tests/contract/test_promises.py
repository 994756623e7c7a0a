"""Contract part 3: what the specification promises is what the API does, asked by the thousand.

Schemathesis makes the requests from the specification: its examples, its limits, random ones that
are valid and ones that are not, and sequences along its links. Every answer has to be one that
the specification names for the request, with that status, body and headers.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.client import Client
from tests.running import ROOT

ENOUGH = 5000
SEEDS = range(1, 9)
ARTIFACTS = ROOT / "artifacts"
CONFIGURATION = ROOT / "tests" / "contract" / "schemathesis.toml"


def _ask(client: Client, folder: Path, *options: str, report: str) -> int:
    """Run Schemathesis with all checks; how many requests it made up, all answered as promised."""
    user = client.other("schemathesis")
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
        "TOKEN": user.token(exp=4102444800),
    }
    result = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(CONFIGURATION), "run", "--generation-database", "none"),
            *("--checks", "all", "--workers", "2", "--no-color", "--continue-on-failure"),
            # An HTTP API has no 405: it answers 404 for a method that no route has.
            *("--exclude-checks", "unsupported_method"),
            *("--report", "junit", "--report-junit-path", str(ARTIFACTS / report)),
            *(*options, f"{client.base_url}/openapi.json"),
        ],
        cwd=folder,  # it keeps files where it works
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    generated = re.search(r"([\d,]+) generated", result.stdout)
    assert generated, result.stdout
    return int(generated[1].replace(",", ""))


@pytest.mark.timeout(600)
def test_thousands_of_requests_are_answered_as_the_specification_promises(
    client: Client, tmp_path: Path
) -> None:
    made = 0
    for seed in SEEDS:  # how many requests a seed makes depends on what the answers are
        options = ("--seed", str(seed), "--max-examples", "1000")
        made += _ask(client, tmp_path, *options, report=f"promises-{seed}.xml")
        if made >= ENOUGH:
            return
    raise AssertionError(f"only {made} requests were made")


def test_requests_that_nobody_has_made_before_are_answered_as_promised(
    client: Client, tmp_path: Path
) -> None:
    options = ("--max-examples", "25")
    assert _ask(client, tmp_path, *options, report="promises-random.xml") > 100
