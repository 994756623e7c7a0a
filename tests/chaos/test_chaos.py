"""Contract part 3: whatever fails below the API, nothing is lost and nothing happens twice."""

import pytest

from tests.chaos.run import CUSTOMERS, KINDS, run
from tests.neon.conftest import need_pgbouncer

pytestmark = pytest.mark.campaign


def test_every_acknowledged_write_is_there_once_and_none_that_was_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    need_pgbouncer(1)
    result = run(20.0, seed=5)
    with capsys.disabled():
        print("\n" + result.table())
    assert result.ledger.surprises == []
    assert (result.lost, result.doubled, result.refused) == (0, 0, 0)
    assert set(result.ledger.statuses) <= {200, 201, 404, 409, 412, 429, 503}
    assert result.environments >= 7
    assert set(result.faults) == set(KINDS)
    assert result.ledger.hung_up > 0
    assert result.ledger.acknowledged.total() > CUSTOMERS
