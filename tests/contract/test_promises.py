"""Contract part 3: what the specification promises is what the API does, asked by the thousand.

Schemathesis makes the requests from the specification: its examples, its limits, random ones that
are valid and ones that are not, and sequences along its links. Every answer has to be one that
the specification names for the request, with that status, body and headers.
"""

import os
import re
import subprocess
import sys

import pytest

from tests.contract.client import Client
from tests.running import ROOT

ENOUGH = 5000
ARTIFACTS = ROOT / "artifacts"


def _ask(client: Client, *options: str, report: str) -> int:
    """Run Schemathesis with all checks; how many requests it made up, all answered as promised."""
    user = client.other("schemathesis")
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
        "TOKEN": user.token(exp=4102444800),
    }
    result = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", "tests/contract/schemathesis.toml", "run"),
            *("--checks", "all", "--workers", "2", "--no-color", "--continue-on-failure"),
            # An HTTP API has no 405: it answers 404 for a method that no route has.
            *("--exclude-checks", "unsupported_method"),
            *("--report", "junit", "--report-junit-path", str(ARTIFACTS / report)),
            *(*options, f"{client.base_url}/openapi.json"),
        ],
        cwd=ROOT,
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
def test_thousands_of_requests_are_answered_as_the_specification_promises(client: Client) -> None:
    options = ("--seed", "20261121", "--generation-deterministic", "--max-examples", "1500")
    assert _ask(client, *options, report="promises.xml") >= ENOUGH


def test_requests_that_nobody_has_made_before_are_answered_as_promised(client: Client) -> None:
    assert _ask(client, "--max-examples", "25", report="promises-random.xml") > 100
