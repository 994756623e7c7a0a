"""Where `sam local`'s own gateway differs from an HTTP API and from `make run`.

The functions answer alike; SAM CLI's Flask application around them differs. Every difference is
asserted: when SAM mends one, a test fails, and its line here goes. docs/sam-local.md tells users.
"""

from dataclasses import dataclass

UNKNOWN_ROUTE = "answers 403 Missing Authentication Token where an HTTP API answers 404 Not Found"
TRAILING_SLASH = "strips a trailing slash; an HTTP API knows no such route"
NOT_UTF8 = "answers 502 for a body that is not UTF-8; an HTTP API hands it over in base64"
NO_CORS = "adds no CORS headers to its own 401"
OTHER_CORS = "adds the headers of a preflight to every answer, but never the exposed headers"
PREFLIGHT = "answers a preflight 200, with its own list of methods, where an HTTP API answers 204"
NEW_LINE = "ends its own messages with a line feed"

# Test cases of tests/contract that fail against SAM's gateway.
_ROUTES = (
    *("POST-/", "GET-/api", "GET-/nowhere", "GET-/api/alice", "GET-/api/alice/tasks/"),
    *("GET-/api//tasks", "GET-/api/alice/tasks/1/2/3", "GET-/API/alice/tasks"),
    *("GET-/%2e%2e/%2e%2e/etc/passwd", "PUT-/api/alice/tasks", "DELETE-/api/alice/tasks"),
    *("POST-/api/alice/tasks/1", "PATCH-/api/alice/tasks/1", "GET-/api/alice/tasks/1/complete"),
    *("TRACE-/api/alice/tasks", "POST-/health"),
)
_BODIES = ("invalid UTF-8", "overlong UTF-8", "surrogate in UTF-8", "UTF-16")
IN_THE_CONTRACT = {
    **{
        f"test_errors::test_a_route_that_does_not_exist_is_404[{r}]": UNKNOWN_ROUTE for r in _ROUTES
    },
    **{f"test_errors::test_a_body_that_is_no_json_object_is_422[{b}]": NOT_UTF8 for b in _BODIES},
    r"test_tasks::test_toggle_ignores_a_body[\xff\x00]": NOT_UTF8,
    "test_browsers::test_answers_to_an_allowed_origin_may_be_read_errors_too": OTHER_CORS,
}

# Headers that name the server or the time are never compared. `make run` also sends `Vary: Origin`
# to caches on every response, and SAM never does.
SERVERS_OWN = {"apigw-requestid", "connection", "date", "keep-alive", "server"}
GATEWAYS_OWN = {("vary", "Origin")}

DIFFERS = ("make run's", "SAM's")  # stands for values that are not spelled out

_METHODS = "DELETE,GET,OPTIONS,PATCH,POST,PUT"
_EXPOSED = "etag,link,location,retry-after,x-request-id"
_BODY = {"body": DIFFERS, "content-length": DIFFERS}
_NONE_OF_OURS: dict[str, tuple[object, object]] = {
    "cache-control": ("private, no-cache", None),
    "strict-transport-security": ("max-age=63072000", None),
    "x-content-type-options": ("nosniff", None),
    "x-request-id": ("<id>", None),
}
_OTHER_CORS: dict[str, tuple[object, object]] = {
    "access-control-allow-headers": (
        None,
        "authorization,content-type,idempotency-key,if-match,if-none-match",
    ),
    "access-control-allow-methods": (None, _METHODS),
    "access-control-expose-headers": (_EXPOSED, None),
    "access-control-max-age": (None, "600"),
}


@dataclass(frozen=True)
class Difference:
    """A difference: its cause in SAM's gateway, the value of `make run`, and then SAM's."""

    cause: str
    found: dict[str, tuple[object, object]]


_NOT_FOUND = Difference(UNKNOWN_ROUTE, {**_BODY, "status": (404, 403)})
_UNAUTHORIZED = Difference(NEW_LINE, {**_BODY})
IN_THE_SESSION = {
    **dict.fromkeys(("root", "nowhere", "another method"), _NOT_FOUND),
    **dict.fromkeys(("no token", "no token at all"), _UNAUTHORIZED),
    "trailing slash": Difference(
        TRAILING_SLASH,
        {
            **_BODY,
            **{name: (there, here) for name, (here, there) in _NONE_OF_OURS.items()},
            "etag": (None, "<etag>"),
            "status": (404, 200),
        },
    ),
    "not UTF-8": Difference(
        NOT_UTF8,
        {
            **_BODY,
            **_NONE_OF_OURS,
            "content-type": ("application/problem+json", "application/json"),
            "status": (422, 502),
        },
    ),
    "from a page": Difference(OTHER_CORS, _OTHER_CORS),
    "error from a page": Difference(OTHER_CORS, _OTHER_CORS),
    "from a page without a token": Difference(
        NO_CORS,
        {
            **_BODY,
            "access-control-allow-origin": ("http://localhost:3000", None),
            "access-control-expose-headers": (_EXPOSED, None),
        },
    ),
    "preflight": Difference(
        PREFLIGHT,
        {
            "access-control-allow-methods": ("GET,POST,PUT,PATCH,DELETE", _METHODS),
            "content-length": (None, "0"),
            "content-type": (None, "text/html; charset=utf-8"),
            "status": (204, 200),
        },
    ),
}
