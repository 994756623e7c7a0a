"""Events by the hundred: requests in which the client says something odd."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import strategies as st

from tests.functions.handlers import event
from tests.routes import Route, fitting_request

USER = "somebody-who-sends-anything"
TASK_ID = "019a9f3c-5b1e-7c64-8f0a-3f1d2b7c9e55"
# JSON can hold every character, even a lone surrogate.
_text = st.text(st.characters(codec=None), max_size=30)
_odd_text = st.sampled_from(["", " ", "\x00", "\ud800", "%00", "*", "🍵" * 300, "x" * 70_000])
_scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    _text,
    _odd_text,
)
anything = st.recursive(
    _scalar,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
"""Any JSON value."""

_members = st.sampled_from(["title", "description", "completed", "id", "user_id"])
_body = st.one_of(
    st.dictionaries(_members, _scalar, max_size=5).map(json.dumps),
    anything.map(json.dumps),
    st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode()),
    _text,
)
_tag = st.integers(0, 16).map(lambda digits: f'"{16**digits - 1:x}"')
_headers = st.dictionaries(
    st.sampled_from(
        ["content-type", "If-Match", "if-none-match", "IDEMPOTENCY-KEY", "accept-encoding"]
    ),
    _odd_text | _text | _tag | st.sampled_from(["application/json", "text/plain", "gzip", "key"]),
    max_size=3,
)
_query = st.lists(
    st.tuples(
        st.sampled_from(["limit", "cursor", "status", "sort", "q", "x"]),
        st.sampled_from(["1", "1001", "-1", "title", "-updated", "pending", "%ff", "%00", "AAAA"])
        | _text,
    ),
    max_size=4,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))


def as_sent(route: Route, user: str = USER, task_id: str = TASK_ID) -> dict[str, Any]:
    """Return the event of a valid request to the route."""
    parameters = {"task_id": task_id} if "{task_id}" in route.path else {}
    fitting = fitting_request(route.folder)
    sent = event(route.method, route.path, user=user, body=fitting.body, **parameters)
    sent["headers"] |= fitting.headers
    return sent | {"rawQueryString": fitting.query_string}


@st.composite
def odd_requests(draw: st.DrawFn, route: Route) -> dict[str, Any]:
    """Draw a well-formed event in which the client has said something odd."""
    base = as_sent(route)
    base["headers"] |= draw(_headers)
    base["rawQueryString"] = draw(_query)
    if draw(st.booleans()):
        base["body"] = draw(_body)
        base["isBase64Encoded"] = draw(st.booleans())
    if "task_id" in base["pathParameters"]:
        base["pathParameters"]["task_id"] = draw(st.just(TASK_ID) | _text | _odd_text)
    return base
