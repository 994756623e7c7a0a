"""Whoever has no token can flood the API, and those who have one still get their work done."""

import pytest

from tests.flood.run import HONEST, run


def test_under_a_flood_of_junk_tokens_no_honest_client_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The ratio of the waiting times is printed here and asserted by `make flood`, every night:
    a few seconds on a machine that does other work say little about it.
    """
    result = run(3.0, rounds=2, at_once=20)
    with capsys.disabled():
        print("\n" + result.table())
    assert result.failed == 0
    assert result.flooded.statuses.total() > HONEST
    assert set(result.flood) == {401}
    assert result.flood.total() > 20
