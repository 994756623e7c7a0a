"""Contract part 3: what the specification promises is what the API does, asked by the thousand.

Schemathesis makes the requests from the specification: its examples, its limits, random ones that
are valid and ones that are not, and sequences along its links. Every answer has to be one that
the specification names for the request, with that status, body and headers.
"""

from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.contract.client import Client
from tests.contract.conftest import ENOUGH
from tests.contract.promises import Schemathesis


@pytest.mark.timeout(900)
@pytest.mark.goes_last
def test_thousands_of_requests_are_answered_as_the_specification_promises(
    thousands: Future[int],
) -> None:
    assert thousands.result() >= ENOUGH


def test_requests_that_nobody_has_made_before_are_answered_as_promised(
    client: Client, tmp_path: Path
) -> None:
    schemathesis = Schemathesis(client, tmp_path)
    assert schemathesis.ask("--max-examples", "25", report="promises-random.xml") > 100
