"""Contract part 3: the API does what its specification promises, over thousands of requests.

Schemathesis makes the requests from the specification: its examples, its limits, random valid and
invalid ones, and sequences along its links. The specification has to name every response for its
request, with that status, body and headers.
"""

import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.contract.client import Client
from tests.contract.conftest import ENOUGH
from tests.contract.promises import Schemathesis
from tests.running import ROOT

pytestmark = pytest.mark.campaign


@pytest.mark.timeout(900)
@pytest.mark.goes_last
def test_thousands_of_requests_are_answered_as_the_specification_promises(
    thousands: Future[int],
) -> None:
    assert thousands.result() >= ENOUGH


def test_a_worker_that_ends_leaves_the_others_the_stack_that_hypothesis_promised_them() -> None:
    code = """if True:
        import sys, tests.contract.schemathesis_hooks
        from hypothesis.internal.conjecture.junkdrawer import ensure_free_stackframes
        first, second = ensure_free_stackframes(), ensure_free_stackframes()
        first.__enter__(), second.__enter__(), first.__exit__(None, None, None)
        sys.exit(sys.getrecursionlimit() < 2000)"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_requests_that_nobody_has_made_before_are_answered_as_promised(
    client: Client, tmp_path: Path
) -> None:
    schemathesis = Schemathesis(client, tmp_path)
    assert schemathesis.ask("--max-examples", "25", report="promises-random.xml") > 100
