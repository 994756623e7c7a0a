"""Events by the thousand: some that no gateway sends, some that are broken, and odd bodies."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.functions.handlers import event
from tests.routes import Route, fitting_request

USER = "somebody-who-sends-anything"
TASK_ID = "019a9f3c-5b1e-7c64-8f0a-3f1d2b7c9e55"
_Path = tuple[str | int, ...]

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


@st.composite
def broken_events(draw: st.DrawFn, route: Route) -> dict[str, Any]:
    """Draw a valid event in which a few parts are removed or replaced by anything."""
    broken = as_sent(route)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(_paths(broken), key=repr) or [()]))
        _change(draw, broken, path)
    return broken


def arbitrary_events(route: Route) -> st.SearchStrategy[Any]:
    """Draw odd requests, broken events, events of payload format 1.0, and any JSON."""
    odd, broken = odd_requests(route), broken_events(route)
    return st.one_of(odd, odd, broken, broken, format_one(route), anything)


@st.composite
def format_one(draw: st.DrawFn, route: Route) -> dict[str, Any]:
    """Return what a REST API, or an HTTP API with payload format 1.0, sends."""
    return {
        "version": "1.0",
        "resource": route.path,
        "path": draw(_text),
        "httpMethod": route.method,
        "headers": draw(st.none() | _headers),
        "multiValueHeaders": draw(st.none() | st.just({"Accept": ["*/*"]})),
        "queryStringParameters": draw(st.none() | anything),
        "requestContext": {"httpMethod": route.method, "authorizer": draw(anything)},
        "pathParameters": {"user_id": USER, "task_id": TASK_ID},
        "body": draw(st.none() | _body),
        "isBase64Encoded": draw(st.booleans()),
    }


def _paths(value: Any, above: _Path = ()) -> Iterator[_Path]:
    """Yield the path of every member of the event, at any depth."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield (*above, name)
            yield from _paths(below, (*above, name))


def _change(draw: st.DrawFn, target: dict[str, Any], path: _Path) -> None:
    """Remove the part at `path`, or replace it."""
    if not path:
        return
    *above, last = path
    inside: Any = target
    for step in above:
        inside = inside[step]
    if draw(st.booleans()):
        del inside[last]
    else:
        inside[last] = copy.deepcopy(draw(anything))
