"""Whatever a client sends, a handler gives a well-formed response and raises no exception."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.functions.events import anything, as_sent, odd_requests
from tests.functions.handlers import Context, handler
from tests.routes import ROUTES, Route

# What a header may be named and hold (RFC 9110, section 5).
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_LAMBDA_BYTES = 6_291_556

by_the_hundred = settings(
    max_examples=200,
    deadline=None,
    # No test here depends on the database's contents, so they stay between the examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def well_formed(answer: Any) -> int:
    """Check that the gateway can pass the response on, and return its status."""
    assert set(answer) <= {"statusCode", "headers", "body", "isBase64Encoded", "cookies"}
    status, headers, body = answer["statusCode"], answer["headers"], answer["body"]
    assert type(status) is int
    assert 200 <= status <= 599
    assert isinstance(body, str)
    assert isinstance(answer["isBase64Encoded"], bool)
    for name, value in headers.items():
        assert _NAME.fullmatch(name), name
        assert isinstance(value, str)
        assert _VALUE.fullmatch(value), value
    assert headers["X-Request-Id"]
    assert len(json.dumps(answer).encode()) < _LAMBDA_BYTES
    if status >= 400:
        assert headers["Content-Type"] == "application/problem+json"
        problem = json.loads(body)
        assert problem["status"] == status
        assert problem["detail"]
    return int(status)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_every_request_is_answered_and_none_is_the_servers_fault(route: Route) -> None:
    assert well_formed(handler(route.folder)(as_sent(route), Context())) in {200, 201, 404}

    @by_the_hundred
    @given(event=odd_requests(route))
    def answered(event: Any) -> None:
        status = well_formed(handler(route.folder)(event, Context()))
        assert status < 500, status

    answered()


@by_the_hundred
@given(event=anything | st.fixed_dictionaries({"identitySource": anything}))
def test_the_authorizer_says_who_or_why_not_whatever_it_is_asked(event: Any) -> None:
    verdict = handler("authorizer")(event, Context())
    assert verdict["isAuthorized"] is True
    assert set(verdict["context"]) == {"refusal"}
    assert isinstance(verdict["context"]["refusal"], str)
    json.dumps(verdict)
