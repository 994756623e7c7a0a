"""Events and answers of an HTTP API, payload format 2.0, exactly as AWS shapes them.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from aiohttp import web

from local.intrinsics import ACCOUNT, REGION, trace_id
from local.template import Route

API_ID = "local"
STAGE = "$default"

# What a proxy uses up instead of passing it on (RFC 9110, section 7.6.1).
_HOP_BY_HOP = frozenset(
    (
        *("connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_TEXT = re.compile(r"(text/|application/([\w.-]+\+)?(json|xml)\b|application/javascript\b)", re.I)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, decoded as far as an HTTP API decodes it.

    `headers` have lower-case names, duplicates joined by commas, no cookies; `path` is
    percent-decoded once.
    """

    id: str
    method: str
    path: str
    query: str
    protocol: str
    headers: Mapping[str, str]
    cookies: list[str]
    source: str
    body: bytes
    received: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def message(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    """Return one of the gateway's own answers: `{"message": ...}`."""
    body = json.dumps({"message": text}, separators=(",", ":")).encode()
    return Answer(status, (("content-type", "application/json"), *headers), body)


def read_request(incoming: web.BaseRequest, body: bytes, port: int) -> Request:
    """Return a request as events have it, with the headers that a gateway adds."""
    source = incoming.remote or ""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in incoming.raw_headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode(errors="replace")
        if name == "cookie":
            cookies += [cookie.strip() for cookie in value.split(";") if cookie.strip()]
        elif name not in _HOP_BY_HOP:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    known = headers.get("x-forwarded-for")
    headers.setdefault("x-amzn-trace-id", trace_id().split(";")[0])
    headers["x-forwarded-for"] = f"{known}, {source}" if known else source
    headers["x-forwarded-port"] = str(port)
    headers["x-forwarded-proto"] = "http"
    # As they were sent, where bytes that are no ASCII have become surrogates.
    path, query = (
        part.encode(errors="surrogateescape")
        for part in (incoming.rel_url.raw_path, incoming.rel_url.raw_query_string)
    )
    return Request(
        id=base64.urlsafe_b64encode(secrets.token_bytes(11)).decode(),
        method=incoming.method,
        path=unquote_to_bytes(path).decode(errors="replace") or "/",
        query=query.decode(errors="replace"),
        protocol=f"HTTP/{incoming.version.major}.{incoming.version.minor}",
        headers=headers,
        cookies=cookies,
        source=source,
        body=body,
    )


def common_event(request: Request, route: Route, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return what the authorizer's event and the function's both have, in AWS' order."""
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True, errors="replace"):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    event = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "cookies": request.cookies,
        "headers": dict(request.headers),
        "queryStringParameters": parameters,
        "requestContext": _context(request, route),
        "pathParameters": dict(variables),
    }
    optional = ("cookies", "queryStringParameters", "pathParameters")
    return {name: value for name, value in event.items() if value or name not in optional}


def authorizer_event(event: dict[str, Any], identity: list[str]) -> dict[str, Any]:
    """Return the event for a Lambda authorizer, format 2.0; it never sees the body."""
    http = event["requestContext"]["http"]
    api = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{API_ID}/{STAGE}"
    arn = f"{api}/{http['method']}{http['path']}"
    return {**event, "type": "REQUEST", "routeArn": arn, "identitySource": identity}


def function_event(
    event: dict[str, Any], identity: Mapping[str, Any], request: Request
) -> dict[str, Any]:
    """Return the event for a route's function; `identity` is `requestContext.authorizer` or {}."""
    if identity:
        event["requestContext"]["authorizer"] = identity
    body, is_base64 = _body(request)
    return {**event, **({"body": body} if body else {}), "isBase64Encoded": is_base64}


def read_answer(payload: bytes) -> Answer | None:
    """Return the HTTP answer that a function's result stands for; None when it is malformed."""
    result = json.loads(payload)
    if not isinstance(result, dict) or "statusCode" not in result:
        body = result.encode() if isinstance(result, str) else payload
        return Answer(200, (("content-type", "application/json"),), body)
    try:
        status, body = int(result["statusCode"]), _answer_body(result)
        headers = _answer_headers(result.get("headers") or {}, result.get("cookies") or [])
    except (TypeError, ValueError, AttributeError):
        return None
    if not 200 <= status <= 599:
        return None
    if body and not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain; charset=utf-8"))
    return Answer(status, tuple(headers), b"" if status in _WITHOUT_BODY else body)


def _context(request: Request, route: Route) -> dict[str, Any]:
    domain = re.sub(r":\d+$", "", request.headers.get("host", "localhost"))
    return {
        "accountId": ACCOUNT,
        "apiId": API_ID,
        "domainName": domain,
        "domainPrefix": domain.split(".")[0],
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": request.protocol,
            "sourceIp": request.source,
            "userAgent": request.headers.get("user-agent", ""),
        },
        "requestId": request.id,
        "routeKey": route.key,
        "stage": STAGE,
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(request.received)),
        "timeEpoch": int(request.received * 1000),
    }


def _body(request: Request) -> tuple[str, bool]:
    """Return the body as text where its type says text and it is valid UTF-8, else as base64."""
    is_text = _TEXT.match(request.headers.get("content-type", "")) or not request.body
    if is_text and "content-encoding" not in request.headers:
        with contextlib.suppress(UnicodeDecodeError):  # base64 carries it unharmed
            return request.body.decode(), False
    return base64.b64encode(request.body).decode(), True


def _answer_body(result: Mapping[str, Any]) -> bytes:
    body = result.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise TypeError("body")
    return base64.b64decode(body, validate=True) if result.get("isBase64Encoded") else body.encode()


def _answer_headers(headers: Mapping[str, Any], cookies: list[str]) -> list[tuple[str, str]]:
    pairs = [(str(name).lower(), _scalar(value)) for name, value in headers.items()]
    pairs += [("set-cookie", _scalar(cookie)) for cookie in cookies]
    for name, value in pairs:
        if not _HEADER_NAME.fullmatch(name) or _NOT_IN_HEADER.search(value):
            raise ValueError(name)
    return [pair for pair in pairs if pair[0] not in _HOP_BY_HOP | {"content-length"}]


def _scalar(value: Any) -> str:
    if not isinstance(value, (str, int, float)):
        raise TypeError("header")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text.encode()  # a lone surrogate cannot be sent: UnicodeEncodeError is a ValueError
    return text
