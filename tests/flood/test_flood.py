"""Clients with a good token still get their work done while others flood the API with junk."""

import pytest

from tests.flood.run import HONEST, SEARCHES, run

pytestmark = pytest.mark.campaign


def test_under_a_flood_of_junk_tokens_no_honest_client_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The ratio of the latencies is printed here, and `make flood` asserts it every night.

    A few seconds on a machine that does other work say little about it.
    """
    result = run(3.0, rounds=2, at_once=20)
    with capsys.disabled():
        print("\n" + result.table())
    assert result.failed == 0
    assert sum(len(each.milliseconds) for each in result.flooded) > HONEST
    assert set(result.flood.statuses) == {401}
    assert result.flood.statuses.total() > 20


def test_beside_one_users_searches_in_parallel_no_honest_client_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Most of the searches are refused at once, so that the others have the database."""
    result = run(3.0, rounds=2, at_once=SEARCHES, searches=True)
    with capsys.disabled():
        print("\n" + result.table())
    assert result.failed == 0
    assert sum(len(each.milliseconds) for each in result.flooded) > HONEST
    assert result.flood.statuses[429] > result.flood.statuses[200] > 0
