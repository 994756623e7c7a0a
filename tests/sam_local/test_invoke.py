"""Every event of events/ gets the same response through `sam local invoke` as everywhere else."""

import json

import pytest

from tests.functions.handlers import EVENTS
from tests.functions.test_events import AUTHORIZER, STATUS, assert_expected
from tests.sam_local.conftest import Invocation

pytestmark = pytest.mark.campaign

# These need something outside that is not there. The text is how far the function comes.
_UP_TO = {
    "migrate_create": "custom_resource.serve",
    "migrate_delete": "custom_resource.serve",
    "migrate_rollback": "custom_resource.serve",
    "migrate_update": "custom_resource.serve",
    "smoke": "api_url",
    "smoke_deployment": "in respond",
}
_NAMES = (*STATUS, *AUTHORIZER, "migrate", "migrate_purge", *_UP_TO)


@pytest.mark.parametrize("name", _NAMES)
def test_an_event_is_answered_as_expected(invocations: dict[str, Invocation], name: str) -> None:
    result = invocations[name].result()
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    if name in _UP_TO:
        assert _UP_TO[name] in "".join(answer["stackTrace"]), answer
    else:
        assert_expected(name, answer)


def test_no_event_is_left_out() -> None:
    assert set(_NAMES) == {path.stem for path in EVENTS.glob("*.json")}
