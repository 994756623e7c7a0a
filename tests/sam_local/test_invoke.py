"""Every event of events/ through `sam local invoke`, answered as everywhere else."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from subprocess import CompletedProcess

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

# What the world outside has to answer as well, which is not there: how far the function comes.
_UP_TO = {
    "migrate_create": "custom_resource.serve",
    "migrate_delete": "custom_resource.serve",
    "migrate_rollback": "custom_resource.serve",
    "migrate_update": "custom_resource.serve",
    "smoke": "SmokeFailed",
    "smoke_hook": "_tell_codedeploy",
}
_NAMES = (*STATUS, *AUTHORIZER, "migrate", *_UP_TO)
_DELETES = "delete_task"
_AT_A_TIME = 3

Results = dict[str, "Future[CompletedProcess[str]]"]


@pytest.fixture(scope="module")
def results(sam: Sam, database_url: str) -> Iterator[Results]:
    """All invocations, some at a time; the one that deletes the task comes last."""
    insert_alices_task(database_url)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        started = {name: pool.submit(_invoke, sam, name) for name in _NAMES if name != _DELETES}
        started[_DELETES] = pool.submit(_after, list(started.values()), sam)
        yield started


@pytest.mark.parametrize("name", _NAMES)
def test_an_event_is_answered_as_expected(results: Results, name: str) -> None:
    result = results[name].result()
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    if name in _UP_TO:
        assert _UP_TO[name] in "".join(answer["stackTrace"]), answer
    else:
        assert_expected(name, answer)


def test_no_event_is_left_out() -> None:
    assert set(_NAMES) == {path.stem for path in EVENTS.glob("*.json")}


def _invoke(sam: Sam, name: str) -> "CompletedProcess[str]":
    function = function_of(name).replace("_", " ").title().replace(" ", "")
    return sam.invoke(function, EVENTS / f"{name}.json")


def _after(others: "list[Future[CompletedProcess[str]]]", sam: Sam) -> "CompletedProcess[str]":
    for other in others:
        other.exception()
    return _invoke(sam, _DELETES)
