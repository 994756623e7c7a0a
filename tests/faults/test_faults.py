"""A short run of `make faults`."""

import pytest

from bench.proxy import How
from tests.faults.run import KINDS, run
from tests.neon.conftest import need_pgbouncer

pytestmark = pytest.mark.campaign


def test_no_write_is_lost_or_doubled_and_no_error_is_untrue_under_faults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    need_pgbouncer(1)
    result = run(30.0, seed=7)
    with capsys.disabled():
        print("\n" + result.table())
    assert result.is_good
    assert result.faults.total() > 100
    assert set(result.faults) >= {each.value for each in How}
    assert set(result.faults) >= KINDS.keys()
