"""Part 1 of the contract, asked of `sam local start-api` by the very tests of `make run`."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.running import ROOT
from tests.sam_local.conftest import SECRET, Api
from tests.sam_local.differences import IN_THE_CONTRACT


def test_the_contract_holds_but_for_the_known_differences_of_sams_gateway(
    api: Api, database_url: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.xml"
    settings = {"CONTRACT_URL": api.url, "CONTRACT_DATABASE_URL": database_url}
    output = _ask(settings, report)
    cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - our own file
    assert len(cases) > 250, output
    failed = {_name(case) for case in cases if any(c.tag in ("failure", "error") for c in case)}
    assert failed == set(IN_THE_CONTRACT), output
    assert not [case for case in cases if case.find("skipped") is not None], output


def _ask(settings: dict[str, str], report: Path) -> str:
    """Run the suite in a process of its own; what it prints."""
    command = [sys.executable, "-m", "pytest", "tests/contract", "-q", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if name[:6] != "PYTEST"}
    result = subprocess.run(
        [*command, f"--junit-xml={report}", "--tb=line"],
        env=environment | settings | {"JWT_SECRET": SECRET},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout[-8000:] + result.stderr[-2000:]


def _name(case: ElementTree.Element) -> str:
    return f"{case.attrib['classname'].rpartition('.')[2]}::{case.attrib['name']}"
