"""One HTTP exchange, within a time and a size that hold whatever the other side does.

It is built on http.client, so that a cold start pays for nothing else. It knows no service:
secrets, signing keys, Smoke and CloudFormation's response all go through it. The errors:

    HTTPClientError
    ├── UnsafeURLError      the URL is not https, and not http to this machine
    ├── TimedOutError       the exchange was not complete in time
    ├── TooLargeError       the body is longer than the caller takes
    └── UnreachableError    no complete response: DNS, TCP, TLS, or not HTTP
"""

from __future__ import annotations

import functools
import http.client
import io
import ipaddress
import os
import re
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

__all__ = [
    "HTTPClientError",
    "Response",
    "TimedOutError",
    "TooLargeError",
    "UnreachableError",
    "UnsafeURLError",
    "check_url",
    "request",
]

_VISIBLE_ASCII = re.compile(r"[!-~]+")  # nothing that could end a line of the request


class HTTPClientError(Exception):
    """The exchange failed. The text holds neither the URL nor anything of the two messages."""


class UnsafeURLError(HTTPClientError):
    """The URL is not one that may be asked; nothing was sent."""


class TimedOutError(HTTPClientError):
    """The exchange was not complete in time; the other side may have acted on the request."""


class TooLargeError(HTTPClientError):
    """The body of the response is longer than the limit."""


class UnreachableError(HTTPClientError):
    """There was no complete response; the cause is chained and its type is in the text."""


class Response(NamedTuple):
    """A complete response of any status. The names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def request(
    method: str,
    url: str,
    *,
    timeout: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = 1024 * 1024,
) -> Response:
    """Send one request on a connection of its own and return the response, whatever its status.

    `timeout` is in seconds and covers everything from connecting to the last byte of the body,
    however slowly the bytes come. Only the look-up of the host's name is outside of it: the
    standard library cannot interrupt that. No redirect is followed. Servers prove their name by
    the system's root certificates. Raise HTTPClientError. Safe to call from several threads.
    """
    deadline = time.monotonic() + timeout
    parts = check_url(url)
    sent = {"Host": parts.netloc, "Connection": "close", **(headers or {})}
    try:
        with _connect(parts, deadline) as connected:
            connection = http.client.HTTPConnection(parts.hostname or "")
            connection.sock = _SocketWithDeadline(connected, deadline)
            connection.request(method, _target(parts), body, sent)
            with connection.getresponse() as response:
                return _read(response, max_bytes)
    except TimeoutError as error:
        raise TimedOutError(f"no complete response within {timeout:g} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(f"no complete response ({type(error).__name__})") from error


def check_url(url: str) -> SplitResult:
    """Return the parts of a URL that may be asked. Raise UnsafeURLError, which says what is wrong.

    It is https, or plain http to this very machine, where nobody can listen on the way.
    """
    try:
        parts, _ = urlsplit(url), urlsplit(url).port
    except ValueError as error:
        raise UnsafeURLError("is not a URL") from error
    if not _VISIBLE_ASCII.fullmatch(url) or not parts.hostname or "@" in parts.netloc:
        raise UnsafeURLError("has to be a URL with a host and without credentials")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise UnsafeURLError("has to start with https://")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _read(response: http.client.HTTPResponse, max_bytes: int) -> Response:
    body = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise TooLargeError(f"the response is longer than {max_bytes} bytes")
    if response.length:  # http.client takes an early end of the stream for the end of the body
        raise http.client.IncompleteRead(body)
    headers = {name.lower(): value for name, value in response.getheaders()}
    if headers.get("content-encoding", "").lower() in ("gzip", "x-gzip"):
        body = _decompressed(body, max_bytes)
    return Response(response.status, headers, body)


def _decompressed(body: bytes, max_bytes: int) -> bytes:
    """Read a body in gzip, which some servers send to clients that did not ask for it."""
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        text = reader.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise ValueError("the body is not gzip") from error
    if len(text) > max_bytes:
        raise TooLargeError(f"the response is longer than {max_bytes} bytes")
    if not reader.eof:
        raise http.client.IncompleteRead(text)
    return text


def _connect(parts: SplitResult, deadline: float) -> socket.socket:
    """Return a connected socket; for https, after a handshake that verified the host's name."""
    host, secure = parts.hostname or "", parts.scheme == "https"
    plain = _first_that_answers(host, parts.port or (443 if secure else 80), deadline)
    if not secure:
        return plain
    try:
        plain.settimeout(_remaining(deadline))
        return _tls(os.environ.get("SSL_CERT_FILE")).wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _first_that_answers(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the host's addresses in turn until one answers.

    Each gets its share of the time that is left, so that one that is dead leaves some to the next.
    """
    failure: OSError = OSError("the host has no address")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for number, (*_, address) in enumerate(found):
        share = _remaining(deadline) / (len(found) - number)
        try:
            return socket.create_connection((str(address[0]), port), timeout=share)
        except OSError as error:
            failure = error
    raise failure


@functools.lru_cache(maxsize=1)
def _tls(_roots: str | None) -> ssl.SSLContext:
    """Read the system's roots, which takes milliseconds, once for each place they are in."""
    return ssl.create_default_context()


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


class _SocketWithDeadline(io.RawIOBase):
    """As much of a socket as http.client uses, with one deadline for all reads and writes.

    A socket's own timeout would start again with each byte. Closing this leaves the socket open,
    because http.client closes it while the body is still to be read.
    """

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            self._socket.settimeout(_remaining(self._deadline))
            left = left[self._socket.send(left) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_SocketWithDeadline(self._socket, self._deadline))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(_remaining(self._deadline))
        return self._socket.recv_into(buffer)
