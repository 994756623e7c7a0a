"""HTTP requests become events of payload format 2.0, and back, as in an HTTP API of AWS."""

import re
import time

import httpx
import pytest

from tests.local.toy import Toy, message


def test_an_event_has_the_members_that_aws_gives_it(toy: Toy) -> None:
    sent = {"User-Agent": "me", "Cookie": "a=1; b=2", "X-Forwarded-For": "1.2.3.4"}
    event = toy.event("/echo/%25a%40b+c?x=1&x=2&y=%20&z", **sent)
    assert event["version"] == "2.0"
    assert event["routeKey"] == "ANY /echo/{name}"
    assert event["rawPath"] == "/echo/%a@b+c"
    assert event["rawQueryString"] == "x=1&x=2&y=%20&z"
    assert event["queryStringParameters"] == {"x": "1,2", "y": " ", "z": ""}
    assert event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in event["headers"]
    assert event["headers"]["x-forwarded-for"] == "1.2.3.4, 127.0.0.1"
    assert event["headers"]["x-amzn-trace-id"].startswith("Root=1-")
    assert event["isBase64Encoded"] is False
    assert event["pathParameters"] == {"name": "%a@b+c"}
    empty = {"queryStringParameters", "cookies", "pathParameters", "body"}
    assert not empty & toy.event("/echo/fixed").keys()


def test_the_request_context_says_who_asked_what_and_when(toy: Toy) -> None:
    answer = toy.get("/echo/a", **{"User-Agent": "me"})
    context = answer.json()["requestContext"]
    assert context["http"] == {
        "method": "GET",
        "path": "/echo/a",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "me",
    }
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context["time"])
    assert abs(context["timeEpoch"] / 1000 - time.time()) < 60
    assert context["stage"] == "$default"
    assert context["routeKey"] == "ANY /echo/{name}"
    assert context["requestId"] == answer.headers["apigw-requestid"]
    assert "authorizer" not in context


@pytest.mark.parametrize("path", ["/echo/", "/echo/a/", "/echo/a%2Fb", "/work"])
def test_a_path_or_method_without_a_route_is_404(toy: Toy, path: str) -> None:
    assert message(toy.get(path)) == (404, "Not Found")


@pytest.mark.parametrize(
    ("kind", "sent", "body", "is_base64"),
    [
        ("application/merge-patch+json", b"{}", "{}", False),
        ("text/plain", "é".encode(), "é", False),
        ("text/plain", b"\xff", "/w==", True),
        ("", b"a", "YQ==", True),
    ],
)
def test_a_body_is_text_only_where_it_is_text(
    toy: Toy, kind: str, sent: bytes, body: str, is_base64: bool
) -> None:
    headers = {"content-type": kind} if kind else {}
    event = httpx.post(f"{toy.url}/echo/a", content=sent, headers=headers).json()
    assert (event["body"], event["isBase64Encoded"]) == (body, is_base64)


@pytest.mark.parametrize(
    "body",
    [
        [b"x" * 1024 * 1024] * 11,  # in chunks, without a Content-Length
        b"x" * 7_000_000,  # the gateway would take it, and Lambda would not
    ],
    ids=["chunked", "event"],
)
def test_a_body_that_is_too_large_is_413(toy: Toy, body: bytes | list[bytes]) -> None:
    headers = {"content-type": "text/plain"}
    content = body if isinstance(body, bytes) else iter(body)
    response = httpx.post(f"{toy.url}/echo/a", content=content, headers=headers, timeout=30)
    assert message(response) == (413, "Request Entity Too Large")


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01 this is TLS\r\n\r\n",
        b"GET /echo/\xff%FF HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n",
        b"POST /work HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_odd_http_is_answered_and_harms_nobody(toy: Toy, request_: bytes) -> None:
    status = int(toy.raw(request_).split()[1])
    assert status in (200, 400, 404)
    head = b"GET /echo/a HTTP/1.1\r\nHost: h.test:80\r\n"
    answer = toy.raw(head + b"X-A: 1\r\nx-a: 2\r\nConnection: close\r\n\r\n")
    assert b'"x-a": "1,2"' in answer
    assert b'"connection"' not in answer
    assert b'"domainName": "h.test"' in answer


@pytest.mark.parametrize(
    ("answer", "status", "kind", "body"),
    [
        ('{"a": [1]}', 200, "application/json", b'{"a": [1]}'),
        ('{"statusCode": 201, "body": "x"}', 201, "text/plain; charset=utf-8", b"x"),
        (
            '{"statusCode": "202", "body": "AP8=", "isBase64Encoded": True, "cookies": ["a=1"]}',
            202,
            "text/plain; charset=utf-8",
            b"\x00\xff",
        ),
    ],
)
def test_an_answer_is_read_as_an_http_api_reads_it(
    toy: Toy, answer: str, status: int, kind: str, body: bytes
) -> None:
    response = toy.work(f"answer = {answer}")
    assert (response.status_code, response.content) == (status, body)
    assert response.headers["content-type"] == kind
    assert response.headers.get_list("set-cookie") == ["a=1"] * ("cookies" in answer)


@pytest.mark.parametrize(
    "answer",
    [
        '{"statusCode": "many"}',
        '{"statusCode": 200, "body": {}}',
        '{"statusCode": 200, "headers": {"a": "b\\r\\nc: d"}}',
        '{"statusCode": 200, "body": "x" * 7000000}',
    ],
)
def test_an_answer_that_is_none_is_500(toy: Toy, answer: str) -> None:
    assert message(toy.work(f"answer = {answer}")) == (500, "Internal Server Error")


@pytest.mark.parametrize("path", ["/who", "/nothing"])
def test_an_allowed_origin_finds_itself_on_every_answer(toy: Toy, path: str) -> None:
    headers = toy.get(path, origin="http://two.test").headers
    assert headers["access-control-allow-origin"] == "http://two.test"
    assert headers["access-control-expose-headers"] == "etag"
    assert headers["vary"] == "Origin"


def test_preflight_is_answered_by_the_gateway(toy: Toy) -> None:
    asked = {"origin": "http://one.test", "access-control-request-method": "POST"}
    answer = httpx.options(f"{toy.url}/who", headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "http://one.test"
    assert answer.headers["access-control-allow-methods"] == "GET,POST"
    assert answer.headers["access-control-allow-headers"] == "authorization"
    assert answer.headers["access-control-max-age"] == "60"


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("OPTIONS", 204)])
def test_another_origin_is_permitted_nothing_even_by_the_function(
    toy: Toy, method: str, status: int
) -> None:
    asked = {"origin": "http://three.test", "access-control-request-method": "POST"}
    response = httpx.request(method, f"{toy.url}/echo/a", headers=asked)
    assert (response.status_code, response.headers["vary"]) == (status, "Origin")
    assert not [name for name in response.headers if name.startswith("access-control-")]
