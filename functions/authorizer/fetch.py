"""One small document over HTTP, within a time and a size that hold whatever the other side does."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

SECONDS = 2.0
MAX_BYTES = 256 * 1024


class FetchError(Exception):
    """The document did not come, or not as it has to; the text says why."""


def fetch(url: str, *, seconds: float = SECONDS, max_bytes: int = MAX_BYTES) -> bytes:
    """The body of a 200 answer. Raises FetchError, after `seconds` in total at the latest.

    Only the look-up of the host's name is not bounded here but by the function's own time-out:
    the standard library cannot interrupt it without a thread. No redirect is followed, so that
    the URL that was configured is the only one that is ever asked.
    """
    deadline = time.monotonic() + seconds
    try:
        with _connect(url, deadline) as connected:
            return _get(_Bounded(connected, deadline), url, max_bytes)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"the keys did not come: {type(error).__name__}") from error


def _get(bounded: _Bounded, url: str, max_bytes: int) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(parts.hostname or "")
    connection.sock = bounded
    headers = {"Host": parts.netloc, "Accept": "application/json", "Connection": "close"}
    connection.request("GET", target, headers=headers)
    with connection.getresponse() as response:
        if response.status != http.client.OK:
            raise FetchError(f"the keys did not come: status {response.status}")
        body = response.read(max_bytes + 1)
        if len(body) > max_bytes:
            raise FetchError(f"the keys did not come: more than {max_bytes} bytes")
        if response.length:  # http.client takes an end before the announced one for the end
            raise FetchError("the keys did not come: cut off")
    return body


def _connect(url: str, deadline: float) -> socket.socket:
    """A connected socket; TLS, where the URL says so, verifies the host by the system's roots."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        return _first(host, parts.port or 80, deadline)
    plain = _first(host, parts.port or 443, deadline)
    try:
        plain.settimeout(_left(deadline))
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _first(host: str, port: int, deadline: float) -> socket.socket:
    """The first of the host's addresses that answers."""
    failure: OSError = OSError("the host has no address")
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            return socket.create_connection((str(address[0]), port), timeout=_left(deadline))
        except OSError as error:
            failure = error
    raise failure


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Bounded(io.RawIOBase):
    """As much of a socket as http.client uses, with one deadline for all that it does.

    A socket's own time-out would begin anew with each byte. Closing leaves the socket open, since
    http.client closes it while the body is still to be read.
    """

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(_left(self._deadline))
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Bounded(self._socket, self._deadline))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(_left(self._deadline))
        return self._socket.recv_into(buffer)
