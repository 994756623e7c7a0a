"""`http_client`: one exchange within its time and its size, by TLS, and with one host only."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from bench.servers import Authority
from http_client import (
    HTTPClientError,
    TimedOutError,
    TooLargeError,
    UnreachableError,
    UnsafeURLError,
    request,
)
from tests.https import Asked, Server, serving

HOSTS = ("127.0.0.2", "127.0.0.1")
Talk = Callable[[socket.socket], object]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the authority that signs the certificates of the tests' servers."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def echo() -> Iterator[Server]:
    """Run a server that answers with the body it gets."""
    with serving(lambda asked: (200, asked.body)) as server:
        yield server


@contextmanager
def talking(talk: Talk) -> Iterator[str]:
    """Run a server for one connection that does what the test says, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connected, _ = listening.accept()
            with connected:
                try:
                    talk(connected)
                except OSError:
                    return  # the client has left, as some tests want

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        thread.join(30)
        assert not thread.is_alive(), "the client keeps its connection"


def answers(text: bytes) -> Talk:
    """Return a function that reads the request and sends these bytes."""

    def talk(connected: socket.socket) -> None:
        connected.recv(65536)
        connected.sendall(text)

    return talk


def test_method_path_query_headers_and_body_arrive_as_given(echo: Server) -> None:
    response = request(
        "PATCH", f"{echo.url}/a%20b?p=B2C_1", timeout=5, body=b"\0body", headers={"X-Given": "y"}
    )
    asked: Asked = echo.asked.get(timeout=10)
    assert (asked.method, asked.path, asked.body) == ("PATCH", "/a%20b?p=B2C_1", b"\0body")
    assert (asked.headers["x-given"], asked.headers["connection"]) == ("y", "close")
    assert asked.headers["host"] == echo.url.removeprefix("http://")
    assert (response.status, response.body) == (200, b"\0body")
    assert response.headers["content-length"] == "5"


@pytest.mark.parametrize("status", [302, 500])
def test_every_status_is_a_response_and_no_redirect_is_followed(status: int) -> None:
    location = b"Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with talking(answers(b"HTTP/1.1 %d x\r\n" % status + location)) as url:
        assert request("GET", url, timeout=5).status == status


def test_a_body_in_chunks_and_one_that_ends_with_the_connection_are_read() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    for text in (chunks, b"HTTP/1.0 200 OK\r\n\r\nabc"):
        with talking(answers(text)) as url:
            assert request("GET", url, timeout=5).body == b"abc"


# --- the time ------------------------------------------------------------------------------------


def trickle(before: bytes, each: bytes) -> Talk:
    """Return a function that sends a beginning, and then a little at a time to the client."""

    def talk(connected: socket.socket) -> None:
        connected.recv(65536)
        connected.sendall(before)
        while True:
            connected.sendall(each)
            threading.Event().wait(0.01)

    return talk


TRICKLES: dict[str, tuple[str, Talk]] = {
    "nothing": ("http:", lambda connected: connected.makefile().read()),
    "a header": ("http:", trickle(b"HTTP/1.1 200 OK\r\nX: ", b"x")),
    "the body": ("http:", trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ")),
    "a TLS handshake": ("https:", trickle(b"\x16\x03\x03\x40\x00", b"\0")),
}


@pytest.mark.parametrize("part", TRICKLES)
def test_a_server_that_sends_a_byte_now_and_then_does_not_pass_the_deadline(part: str) -> None:
    scheme, talk = TRICKLES[part]
    with (
        talking(talk) as url,
        pytest.raises(TimedOutError, match=r"no complete response within 0\.2 s"),
    ):
        request("GET", url.replace("http:", scheme), timeout=0.2)


def test_a_tls_handshake_has_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    class Handshake:
        def wrap_socket(self, plain: socket.socket, **_: object) -> None:
            limits.append(plain.gettimeout())
            raise TimeoutError

    monkeypatch.setattr("http_client._tls", lambda _: Handshake())
    with talking(TRICKLES["nothing"][1]) as url, pytest.raises(TimedOutError):
        request("GET", url.replace("http:", "https:"), timeout=5)
    (limit,) = limits
    assert limit is not None
    assert 0 < limit < 5


def test_a_server_that_does_not_read_does_not_pass_the_deadline() -> None:
    left = threading.Event()

    def talk(_: socket.socket) -> None:
        left.wait(30)

    with talking(talk) as url:
        with pytest.raises(TimedOutError):
            request("PUT", url, timeout=0.2, body=bytes(64 * 1024 * 1024))
        left.set()


# --- the size ------------------------------------------------------------------------------------


def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not(echo: Server) -> None:
    assert request("POST", echo.url, timeout=5, body=bytes(100), max_bytes=100).body == bytes(100)
    with pytest.raises(TooLargeError, match="longer than 100 bytes"):
        request("POST", echo.url, timeout=5, body=bytes(101), max_bytes=100)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_complete_response_is_an_error(text: bytes) -> None:
    with talking(answers(text)) as url, pytest.raises(UnreachableError):
        request("GET", url, timeout=5)


def in_gzip(body: bytes) -> Talk:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    return answers(head % len(body) + body)


def test_a_body_that_comes_in_gzip_is_read() -> None:
    with talking(in_gzip(gzip.compress(b'{"keys": []}'))) as url:
        assert request("GET", url, timeout=10).body == b'{"keys": []}'


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(gzip.compress(b"x" * 2000), TooLargeError, id="grows beyond the limit"),
        pytest.param(gzip.compress(b"x" * 99)[:-8], UnreachableError, id="ends early"),
        pytest.param(b"plain", UnreachableError, id="is not gzip"),
    ],
)
def test_gzip_that_is_too_long_or_broken_is_an_error(
    body: bytes, error: type[HTTPClientError]
) -> None:
    with talking(in_gzip(body)) as url, pytest.raises(error):
        request("GET", url, timeout=10, max_bytes=1000)


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    echo: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that accepts nobody and whose queue is full is silent, as a dead host is."""
    port = int(echo.url.rpartition(":")[2])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in HOSTS]
    real = socket.getaddrinfo

    def resolved(host: str, *rest: Any, **more: Any) -> Any:
        return found if host == "localhost" else real(host, *rest, **more)

    with socket.socket() as silent:
        silent.bind((HOSTS[0], port))
        silent.listen(0)
        with closing(socket.create_connection(silent.getsockname())):
            monkeypatch.setattr(socket, "getaddrinfo", resolved)
            assert request("POST", echo.url, body=b"hello", timeout=2).body == b"hello"


# --- the place -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://localhost.example.org/", "has to start with https://"),
        ("ftp://localhost/", "has to start with https://"),
        ("file:///etc/passwd", "has to be a URL with a host"),
        ("http://127.0.0.1@example.org/", "without credentials"),
        ("https://localhost/\r\nX: y", "has to be a URL"),
        ("https://localhost:99999/", "is not a URL"),
    ],
)
def test_only_https_and_this_machine_are_asked(
    url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    with pytest.raises(UnsafeURLError, match=said):
        request("GET", url, timeout=5)


def test_a_header_cannot_begin_another_one(echo: Server) -> None:
    with pytest.raises(HTTPClientError):
        request("GET", echo.url, timeout=5, headers={"X": "y\r\nZ: z"})
    assert echo.asked.empty()


def test_a_trusted_certificate_of_the_right_name_is_accepted(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.roots))
    with serving(lambda _: (200, b"safe"), authority.issue("localhost")) as server:
        assert request("GET", server.url, timeout=5).body == b"safe"


@pytest.mark.parametrize(("is_trusted", "name"), [(True, "other.example"), (False, "localhost")])
def test_a_certificate_of_another_name_or_authority_is_refused(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, is_trusted: bool, name: str
) -> None:
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.roots))
    with (
        serving(lambda _: (200, b""), authority.issue(name)) as server,
        pytest.raises(UnreachableError, match="SSLCertVerificationError"),
    ):
        request("GET", server.url, timeout=5)


# --- the rest ------------------------------------------------------------------------------------


def test_an_error_says_nothing_of_the_request() -> None:
    with pytest.raises(HTTPClientError) as failed:
        request("PUT", "http://localhost:1/hush?signature=hush", timeout=5, headers={"X": "hush"})
    assert "hush" not in str(failed.value)
