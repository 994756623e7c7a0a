"""Where `sam local`'s own gateway is not an HTTP API, and `make run` is. All of it is asserted.

The functions answer alike; what differs is what SAM CLI's Flask application does around them.
When SAM mends one of these, a test fails and its line here goes. docs/sam-local.md tells users.
"""

UNKNOWN_ROUTE = "answers 403 Missing Authentication Token where an HTTP API answers 404 Not Found"
NOT_UTF8 = "answers 502 for a body that is not UTF-8; an HTTP API hands it over in base64"
NO_CORS = "adds no CORS headers to its own 401, and never the exposed headers"
PREFLIGHT = "answers a preflight 200, with its own list of methods, where an HTTP API answers 204"

# Test cases of tests/contract that fail against SAM's gateway.
_ROUTES = (
    *("GET-/", "GET-/api", "GET-/nowhere", "GET-/api/alice", "GET-/api/alice/tasks/"),
    *("GET-/api//tasks", "GET-/api/alice/tasks/1/2/3", "GET-/API/alice/tasks"),
    *("GET-/%2e%2e/%2e%2e/etc/passwd", "PUT-/api/alice/tasks", "DELETE-/api/alice/tasks"),
    *("POST-/api/alice/tasks/1", "PATCH-/api/alice/tasks/1", "GET-/api/alice/tasks/1/complete"),
    *("TRACE-/api/alice/tasks", "POST-/health"),
)
_BODIES = ("invalid UTF-8", "overlong UTF-8", "surrogate in UTF-8", "UTF-16")
IN_THE_CONTRACT = {
    **{f"test_errors::test_a_route_that_does_not_exist_is_404[{r}]": UNKNOWN_ROUTE for r in _ROUTES},
    **{f"test_errors::test_a_body_that_is_no_json_object_is_422[{b}]": NOT_UTF8 for b in _BODIES},
    r"test_tasks::test_toggle_ignores_a_body[\xff\x00]": NOT_UTF8,
    "test_browsers::test_answers_to_an_allowed_origin_may_be_read_errors_too": NO_CORS,
}

# Headers that say who serves, or when: never compared.
SERVERS_OWN = {"apigw-requestid", "connection", "date", "keep-alive", "server"}
IN_THE_SESSION: dict = {}
