"""What the benchmark's tests share with the benchmark: Lambda's runtime, and what was built."""

import pytest

from local.errors import LocalError
from tests.bench.side_by_side.processes import WORK, Runtime, install_runtime
from tests.running import ROOT


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """Lambda's Python, with its runtime client."""
    try:
        return install_runtime(ROOT, WORK, print)
    except LocalError as error:
        pytest.skip(str(error))
