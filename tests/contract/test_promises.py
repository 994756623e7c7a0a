"""Contract part 3: the API does what its specification promises, over thousands of requests.

Schemathesis makes the requests from the specification: its examples, its limits, random valid and
invalid ones, and sequences along its links. The specification has to name every response for its
request, with that status, body and headers.
"""

from pathlib import Path

import pytest

from tests.contract.client import Client
from tests.contract.promises import schemathesis

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]

ENOUGH = 2000


def test_thousands_of_requests_are_answered_as_the_specification_promises(
    client: Client, tmp_path: Path
) -> None:
    options = ("--seed", "1", "--max-examples", "1000")
    assert schemathesis(client, tmp_path, *options, report="promises-1.xml") >= ENOUGH


def test_requests_that_nobody_has_made_before_are_answered_as_promised(
    client: Client, tmp_path: Path
) -> None:
    options = ("--max-examples", "25")
    assert schemathesis(client, tmp_path, *options, report="promises-random.xml") > 100
