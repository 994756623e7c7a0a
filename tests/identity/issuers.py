"""Issuers for the tests: keys, tokens of any shape, and a JWKS on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.https import Asked, serving

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
    body: bytes | None = None
    asked: int = 0
    path: str = ""

    def __enter__(self) -> Jwks:
        self._serving = serving(self._answer)
        self.url = f"{self._serving.__enter__().url}/.well-known/jwks.json"
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)

    def _answer(self, asked: Asked) -> tuple[int, bytes]:
        self.asked += 1
        self.path = asked.path
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return self.status, body


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now
