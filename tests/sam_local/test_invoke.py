"""Every event of events/ through `sam local invoke`, answered as everywhere else."""

import json

import pytest

from local.sam.commands import Sam
from tests.functions.handlers import EVENTS
from tests.functions.test_events import (
    AUTHORIZER,
    STATUS,
    assert_expected,
    function_of,
    insert_alices_task,
)


@pytest.mark.parametrize("name", [*STATUS, *AUTHORIZER, "migrate"])
def test_an_event_is_answered_as_expected(sam: Sam, database_url: str, name: str) -> None:
    insert_alices_task(database_url)
    function = function_of(name).replace("_", " ").title().replace(" ", "")
    result = sam.invoke(function, EVENTS / f"{name}.json")
    assert result.returncode == 0, result.stderr
    assert_expected(name, json.loads(result.stdout))
