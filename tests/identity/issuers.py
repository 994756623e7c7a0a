"""Issuers for the tests: keys, tokens of any shape, and a JWKS on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Json = Mapping[str, Any] | bytes
Signer = Callable[[bytes], bytes]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(header: Json, claims: Json, sign: Signer) -> str:
    """Return a compact JWS over exactly these bytes, even if a library would refuse them."""
    parts = [
        each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, claims)
    ]
    head = ".".join(map(b64, parts))
    return f"{head}.{b64(sign(head.encode()))}"


def hs256(secret: bytes) -> Signer:
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


@dataclass(frozen=True)
class Key:
    """A private key, its algorithm and its id."""

    kid: str
    algorithm: str
    private: Any

    @classmethod
    def new(cls, algorithm: str, kid: str, *, bits: int = 2048) -> Key:
        if algorithm == "RS256":
            return cls(kid, algorithm, rsa.generate_private_key(65537, bits))
        if algorithm == "ES256":
            return cls(kid, algorithm, ec.generate_private_key(ec.SECP256R1()))
        return cls(kid, algorithm, ed25519.Ed25519PrivateKey.generate())

    @property
    def _algorithm(self) -> Any:
        return jwt.PyJWS().get_algorithm_by_name(self.algorithm)

    @property
    def jwk(self) -> dict[str, Any]:
        """Return the public half in the form that an issuer publishes."""
        public = self._algorithm.to_jwk(self.private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        return {"alg": self.algorithm, **public, "kid": self.kid}

    @property
    def pem(self) -> bytes:
        public = self.private.public_key()
        return bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    @property
    def header(self) -> dict[str, Any]:
        """Return the header that Better Auth's jwt plugin writes, which has no `typ`."""
        return {"alg": self.algorithm, "kid": self.kid}

    def sign(self, data: bytes) -> bytes:
        return bytes(self._algorithm.sign(data, self.private))


@dataclass
class Jwks:
    """A JWKS on loopback, which counts the requests. Its response may be changed at any time."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    drip: threading.Event | None = None
    before_body: threading.Event | None = None
    tls: ssl.SSLContext | None = None
    paths: list[str] = field(default_factory=list)

    def __enter__(self) -> Jwks:
        handler = type("Handler", (_Handler,), {"jwks": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def asked(self) -> int:
        """Return the number of requests."""
        return len(self.paths)

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self._server.server_port}/.well-known/jwks.json"


class _Server(ThreadingHTTPServer):
    block_on_close = False  # a client that stays connected must not delay the end of a test

    def handle_error(self, *_: object) -> None:
        """Ignore it: in some tests the client goes away on purpose."""


class _Handler(BaseHTTPRequestHandler):
    jwks: Jwks
    timeout = 5

    def do_GET(self) -> None:
        self.jwks.paths.append(self.path)
        body = self.jwks.body
        if body is None:
            body = json.dumps({"keys": self.jwks.keys}).encode()
        self.send_response(self.jwks.status)
        for name, value in {"Content-Length": str(len(body)), **self.jwks.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.jwks.before_body:
            assert self.jwks.before_body.wait(5)
        if self.jwks.drip is None:
            self.wfile.write(body)
        else:
            self._drip(self.jwks.drip)

    def _drip(self, done: threading.Event) -> None:
        """Send a byte now and then until the client has gone away."""
        try:
            while not done.wait(0.01):
                self.wfile.write(b" ")
        except OSError:
            done.set()

    def log_message(self, *_: object) -> None:
        """Say nothing: the tests count what they need."""
