"""CORS as an HTTP API does it: by the API's configuration alone, never by the functions.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
"""

from __future__ import annotations

from local.events import Answer, Request
from local.template import Cors


def is_preflight(request: Request) -> bool:
    """Tell whether a browser asks for permission (https://fetch.spec.whatwg.org)."""
    return (
        request.method == "OPTIONS"
        and "origin" in request.headers
        and "access-control-request-method" in request.headers
    )


def preflight(cors: Cors) -> Answer:
    """Return the answer to a browser's question; `with_cors` adds for which origin it holds."""
    headers = [
        ("access-control-allow-methods", ",".join(cors.methods)),
        ("access-control-allow-headers", ",".join(cors.headers)),
    ]
    if cors.max_age is not None:
        headers.append(("access-control-max-age", str(cors.max_age)))
    return Answer(204, tuple((name, value) for name, value in headers if value))


def with_cors(answer: Answer, cors: Cors, request: Request) -> Answer:
    """Return the answer with CORS headers for an allowed origin, and without for any other."""
    origin = request.headers.get("origin", "")
    is_allowed = bool(origin) and _allows(cors, origin)
    mine = is_preflight(request) and is_allowed
    headers = [
        (name, value)
        for name, value in answer.headers
        if mine or not name.startswith("access-control-")
    ]
    if "*" not in cors.origins:
        headers = _vary(headers)
    if is_allowed:
        headers.append(("access-control-allow-origin", "*" if "*" in cors.origins else origin))
        if cors.credentials:
            headers.append(("access-control-allow-credentials", "true"))
        if cors.exposed and not mine:
            headers.append(("access-control-expose-headers", ",".join(cors.exposed)))
    return Answer(answer.status, tuple(headers), answer.body)


def _allows(cors: Cors, origin: str) -> bool:
    wildcards = [allowed[:-1] for allowed in cors.origins if allowed in ("http://*", "https://*")]
    return "*" in cors.origins or origin in cors.origins or origin.startswith(tuple(wildcards))


def _vary(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Have caches keep answers for different origins apart."""
    known = [value for name, value in headers if name == "vary"]
    others = [(name, value) for name, value in headers if name != "vary"]
    return [*others, ("vary", ", ".join([*known, "Origin"]))]
