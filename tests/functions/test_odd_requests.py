"""Whatever a client sends, a handler gives a well-formed response and raises no exception."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.functions.handlers import Context, as_sent, handler
from tests.routes import TASK_ROUTES, Route

# What a header may hold (RFC 9110, section 5.5).
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_HEADERS = ["content-type", "If-Match", "if-none-match", "IDEMPOTENCY-KEY", "accept-encoding"]
_QUERY = ["limit", "cursor", "status", "sort", "q", "x"]
# JSON can hold every character, even a lone surrogate.
_text = st.text(st.characters(codec=None), max_size=30) | st.sampled_from(
    [
        "",
        "\x00",
        "\ud800",
        "%00",
        "%ff",
        "*",
        '"ff"',
        "1",
        "application/json",
        "🍵" * 300,
        "x" * 70_000,
    ]
)
_members = st.sampled_from(["title", "description", "completed", "id"])
_json = st.dictionaries(_members, _text | st.none() | st.booleans() | st.integers()).map(json.dumps)
_requests = st.fixed_dictionaries(
    {
        "headers": st.dictionaries(st.sampled_from(_HEADERS), _text, max_size=3),
        "rawQueryString": st.dictionaries(st.sampled_from(_QUERY), _text, max_size=3).map(
            lambda query: "&".join(map("=".join, query.items()))
        ),
        "body": _text | _json,
        "isBase64Encoded": st.booleans(),
    }
)


@pytest.mark.parametrize("route", TASK_ROUTES, ids=lambda route: route.key)
def test_every_request_is_answered_and_none_is_the_servers_fault(route: Route) -> None:
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(request=_requests, id_=_text)
    def answered(request: dict[str, Any], id_: str) -> None:
        response = handler(route.folder)(as_sent(route, "alice", id_) | request, Context())
        assert 200 <= response["statusCode"] < 500
        assert all(map(_VALUE.fullmatch, response["headers"].values()))
        json.dumps(response)  # Lambda has to be able to return it

    answered()
