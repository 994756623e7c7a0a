"""Events and responses of an HTTP API, payload format 2.0, exactly as AWS shapes them.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from aiohttp import web

from deploy.template import ACCOUNT, REGION
from local.template import Route

_API_ID = "local"
_STAGE = "$default"

# Headers that a proxy does not forward (RFC 9110, section 7.6.1).
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
    percent-decoded once. `event` is a function's event without route, identity and body.
    """

    id: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """The HTTP response to the client."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def trace_id() -> str:
    """Return a new X-Ray trace header, not sampled."""
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Sampled=0"


def message(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """Return one of the gateway's own responses: `{"message": ...}`."""
    body = json.dumps({"message": text}, separators=(",", ":")).encode()
    return Response(status, (("content-type", "application/json"), *headers), body)


def read_request(incoming: web.BaseRequest, body: bytes, port: int) -> Request:
    """Return a request as a gateway reads it, with the headers that it adds."""
    request_id = urlsafe_b64encode(secrets.token_bytes(11)).decode()
    source = incoming.remote or ""
    headers, cookies = _headers(incoming.raw_headers, source, port)
    path = unquote_to_bytes(_as_sent(incoming.rel_url.raw_path)).decode(errors="replace") or "/"
    query = _as_sent(incoming.rel_url.raw_query_string).decode(errors="replace")
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    domain = re.sub(r":\d+$", "", headers.get("host", "localhost"))
    now = time.time()
    event = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        **({"cookies": cookies} if cookies else {}),
        "headers": headers,
        **({"queryStringParameters": parameters} if parameters else {}),
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": _API_ID,
            "domainName": domain,
            "domainPrefix": domain.split(".")[0],
            "http": {
                "method": incoming.method,
                "path": path,
                "protocol": f"HTTP/{incoming.version.major}.{incoming.version.minor}",
                "sourceIp": source,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "stage": _STAGE,
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
    }
    return Request(request_id, incoming.method, path, headers, body, event)


def routed(request: Request, route: Route, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the members that the authorizer's event and the function's share."""
    return {
        **request.event,
        "routeKey": route.key,
        "requestContext": {**request.event["requestContext"], "routeKey": route.key},
        **({"pathParameters": variables} if variables else {}),
    }


def authorizer_event(event: dict[str, Any], identity: list[str]) -> dict[str, Any]:
    """Return the event for a Lambda authorizer, format 2.0; it never sees the body."""
    http = event["requestContext"]["http"]
    api = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{_API_ID}/{_STAGE}"
    arn = f"{api}/{http['method']}{http['path']}"
    return {**event, "type": "REQUEST", "routeArn": arn, "identitySource": identity}


def add_body(event: dict[str, Any], request: Request) -> None:
    """Add the body, as text where its type says text and it is valid UTF-8, else as base64."""
    event["isBase64Encoded"] = False
    if not request.body:
        return
    is_text = _TEXT.match(request.headers.get("content-type", ""))
    if is_text and "content-encoding" not in request.headers:
        with contextlib.suppress(UnicodeDecodeError):  # base64 carries it unharmed
            event["body"] = request.body.decode()
            return
    event["body"] = b64encode(request.body).decode()
    event["isBase64Encoded"] = True


def read_response(payload: bytes) -> Response | None:
    """Return the HTTP response in a function's result; None when it is malformed."""
    try:
        result = json.loads(payload)
        if not isinstance(result, dict) or "statusCode" not in result:
            body = result.encode() if isinstance(result, str) else payload
            return Response(200, (("content-type", "application/json"),), body)
        status, text = int(result["statusCode"]), result.get("body")
        text = "" if text is None else text
        body = b64decode(text, validate=True) if result.get("isBase64Encoded") else text.encode()
        headers = _response_headers(result.get("headers") or {}, result.get("cookies") or [])
    except (TypeError, ValueError, AttributeError, OverflowError):
        return None
    if not 200 <= status <= 599:
        return None
    if body and not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain; charset=utf-8"))
    return Response(status, tuple(headers), b"" if status in _WITHOUT_BODY else body)


def _headers(
    raw: Iterable[tuple[bytes, bytes]], source: str, port: int
) -> tuple[dict[str, str], list[str]]:
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in raw:
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
    return headers, cookies


def _as_sent(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # which is how bytes that are no ASCII arrive


def _response_headers(headers: Mapping[str, Any], cookies: list[str]) -> list[tuple[str, str]]:
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
