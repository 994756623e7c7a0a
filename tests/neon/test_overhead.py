"""What a unit of work costs over the bare `conn.execute` of the same statement."""

from __future__ import annotations

import pytest

from neon import Statement
from tests.neon import measure
from tests.neon.servers import Postgres


@pytest.mark.parametrize("statement", [measure.ROW, measure.ONE], ids=["row", "one"])
def test_a_unit_of_work_costs_at_most_a_quarter_more_than_a_bare_execute(
    postgres: Postgres, statement: Statement
) -> None:
    """Bare is one SELECT; the unit of work sets user and time-out as well, and checks liveness."""
    found = measure.overhead(postgres.url, statement)
    assert found.time <= 1.25, found
    assert found.cpu <= 1.25, found
