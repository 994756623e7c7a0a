"""`make run` and `sam local` give the same responses to one session, header by header."""

from collections.abc import Callable

import pytest

from tests.contract.client import Client
from tests.running import running
from tests.sam_local.conftest import SECRET, Recording
from tests.sam_local.differences import DIFFERS, IN_THE_SESSION
from tests.sam_local.session import SESSION, Answer, play

pytestmark = pytest.mark.campaign


def test_every_step_is_answered_alike_but_for_the_known_differences(
    recording: Recording, new_database: Callable[[], str]
) -> None:
    assert len(SESSION) >= 60
    with running({"DATABASE_URL": new_database(), "JWT_SECRET": SECRET}) as make_run:
        local = play(Client(make_run.url, SECRET, "recorder"))
    sam = recording.result()
    found = {step.name: differences(local[step.name], sam[step.name]) for step in SESSION}
    assert {name: each for name, each in found.items() if each} == {
        name: difference.found for name, difference in IN_THE_SESSION.items()
    }


def differences(local: Answer, sam: Answer) -> dict[str, tuple[object, object]]:
    """Return both values of each status or header that differs, and the name of each such body."""
    names = local.headers.keys() | sam.headers.keys()
    pairs: dict[str, tuple[object, object]] = {
        name: (local.headers.get(name), sam.headers.get(name)) for name in names
    }
    pairs["status"] = (local.status, sam.status)
    found = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if local.body != sam.body:
        found |= {"body": DIFFERS, "content-length": DIFFERS}
    return found
