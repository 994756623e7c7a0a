"""Part 1 of the contract: the tests that `make run` passes, on `sam local start-api`."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.running import ROOT
from tests.sam_local.conftest import SECRET, Api
from tests.sam_local.differences import IN_THE_CONTRACT

pytestmark = pytest.mark.campaign

_PART_1 = ("browsers", "documentation", "errors", "identity", "tasks")
_SHARES = 8


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("invocations", "recording")
def test_the_contract_holds_but_for_the_known_differences_of_sams_gateway(
    api: Api, database_url: str, tmp_path: Path
) -> None:
    settings = {"CONTRACT_URL": api.url, "CONTRACT_DATABASE_URL": database_url}
    shares = [_Share(number, tmp_path, settings) for number in range(_SHARES)]
    output = "".join(share.output() for share in shares)
    cases = [case for share in shares for case in share.cases()]
    assert len(cases) > 250, output
    failed = {_name(case) for case in cases if any(c.tag in ("failure", "error") for c in case)}
    assert failed == set(IN_THE_CONTRACT), output
    assert not [case for case in cases if case.find("skipped") is not None], output


class _Share:
    """A share of the tests, in a process of its own.

    The shares run side by side because SAM's gateway waits up to a second for the end of a
    function's log, whenever that end arrives together with the lines before it.
    """

    def __init__(self, number: int, folder: Path, settings: dict[str, str]) -> None:
        self._report = folder / f"{number}.xml"
        environment = {key: value for key, value in os.environ.items() if key[:6] != "PYTEST"}
        share = {"JWT_SECRET": SECRET, "SHARE": f"{number}/{_SHARES}"}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-p", "tests.sam_local.share"),
                *(f"tests/contract/test_{name}.py" for name in _PART_1),
                *("-q", "-p", "no:cacheprovider", f"--basetemp={folder / str(number)}"),
                *("--tb=line", f"--junit-xml={self._report}"),
            ],
            env=environment | settings | share,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def output(self) -> str:
        """Return what it prints until it ends."""
        return self._process.communicate()[0][-8000:]

    def cases(self) -> list[ElementTree.Element]:
        """Return its test cases and the outcome of each."""
        return list(ElementTree.parse(self._report).iter("testcase"))  # noqa: S314 - our own file


def _name(case: ElementTree.Element) -> str:
    return f"{case.attrib['classname'].rpartition('.')[2]}::{case.attrib['name']}"
