"""The keys that verify an issuer's tokens: its shared secrets, or the keys of its JWKS."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import strict_json
from jwt import PyJWK, PyJWTError

import http_client
from observability import logger

MAX_AGE_SECONDS = 600.0
COOLDOWN_SECONDS = 30.0
RETRY_SECONDS = 1.0
FETCH_SECONDS = 2.0
MAX_BYTES = 256 * 1024
_RSA_BITS = 2048  # RFC 7518, section 3.3
_KEY_PARTS = ("kty", "crv", "x", "y", "n", "e")  # nothing private and no URL
_ALGORITHM_OF = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}


class UnknownKeyError(Exception):
    """The issuer has no such key for such an algorithm."""


class KeysUnavailableError(Exception):
    """The issuer has never been reached, so nobody can tell whether a token is good."""


class JWKSError(Exception):
    """The issuer's JWKS could not be fetched or is not one; the text says why."""


class Keys(Protocol):
    """What finds the keys that may have signed a token."""

    def find(self, kid: str | None, algorithm: str) -> Sequence[PyJWK]:
        """Return keys for the algorithm. Raises UnknownKeyError or KeysUnavailableError."""
        ...


class SharedSecrets:
    """The secrets that are good now; the token's key id is ignored."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [_symmetric(secret) for secret in secrets]

    def find(self, _kid: str | None, algorithm: str) -> Sequence[PyJWK]:
        """Return all of them. Raises UnknownKeyError for any algorithm but HS256."""
        if algorithm != "HS256":
            raise UnknownKeyError
        return self._keys


def _symmetric(secret: str) -> PyJWK:
    encoded = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    return PyJWK({"kty": "oct", "k": encoded}, "HS256")


def fetch(url: str) -> bytes:
    """Return the document at an issuer's URL. Raises JWKSError."""
    try:
        response = http_client.request(
            "GET",
            url,
            headers={"Accept": "application/json"},
            timeout=FETCH_SECONDS,
            max_bytes=MAX_BYTES,
        )
    except http_client.HTTPClientError as error:
        raise JWKSError(f"the keys did not come: {error}") from error
    if response.status != HTTPStatus.OK:
        raise JWKSError(f"the keys did not come: status {response.status}")
    return response.body


class RemoteKeys:
    """An issuer's JWKS, fetched when a token first needs it and kept in this environment.

    It is fetched again when it is older than `MAX_AGE_SECONDS`, and for a key that is not in it at
    most once in `COOLDOWN_SECONDS`, so that made-up key ids cannot flood the issuer with requests.
    While the issuer is down its old keys stay; a withdrawn key is gone after the next fetch.
    """

    def __init__(
        self,
        url: str,
        algorithms: frozenset[str],
        *,
        get: Callable[[str], bytes] = fetch,
        clock: Callable[[], float] = time.time,  # time.monotonic stops while Lambda freezes us
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._get = get
        self._clock = clock
        self._keys: Mapping[tuple[str, str], PyJWK] | None = None
        self._next_fetch = self._next_search = float("-inf")

    def find(self, kid: str | None, algorithm: str) -> Sequence[PyJWK]:
        """Return the key of that id and algorithm. Raises UnknownKeyError, KeysUnavailableError."""
        if kid is None:
            raise UnknownKeyError
        now = self._clock()
        asked = now >= self._next_fetch
        if asked:
            self._fetch(now)
        key = self._known().get((kid, algorithm))
        if key is None and not asked and now >= self._next_search:
            self._next_search = now + COOLDOWN_SECONDS
            self._fetch(now)
            key = self._known().get((kid, algorithm))
        if key is None:
            raise UnknownKeyError
        return [key]

    def _known(self) -> Mapping[tuple[str, str], PyJWK]:
        if self._keys is None:
            raise KeysUnavailableError("no keys of the issuer have been fetched yet")
        return self._keys

    def _fetch(self, now: float) -> None:
        try:
            self._keys = _usable(self._get(self._url), self._algorithms)
        except JWKSError as error:
            logger.warning("%s from %s", error, self._url)
            self._next_fetch = now + (RETRY_SECONDS if self._keys is None else COOLDOWN_SECONDS)
        else:
            self._next_fetch = now + MAX_AGE_SECONDS


def _usable(document: bytes, algorithms: frozenset[str]) -> dict[tuple[str, str], PyJWK]:
    """Return the usable keys of a JWKS by id and algorithm. Raises JWKSError if it is not one."""
    try:
        listed = strict_json.parse(document)["keys"]
    except (ValueError, TypeError, KeyError) as error:
        raise JWKSError("the response is not a JWKS") from error
    if not isinstance(listed, list):
        raise JWKSError("the response is not a JWKS")
    keys: dict[tuple[str, str], PyJWK] = {}
    for jwk in listed:
        key = _key(jwk) if isinstance(jwk, dict) else None
        if key is not None and key.algorithm_name in algorithms:
            keys.setdefault((jwk["kid"], key.algorithm_name), key)
    return keys


def _key(jwk: dict[str, Any]) -> PyJWK | None:
    """Return the public key for the one algorithm of its type and curve; None if it is unfit."""
    try:
        algorithm = _ALGORITHM_OF[jwk["kty"], jwk.get("crv")]
        if not isinstance(jwk["kid"], str) or not _is_to_verify(jwk, algorithm):
            return None
        key = PyJWK({name: jwk[name] for name in _KEY_PARTS if name in jwk}, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError) as error:
        logger.warning("a key of the issuer is not usable: %s", type(error).__name__)
        return None
    return key if algorithm != "RS256" or key.key.key_size >= _RSA_BITS else None


def _is_to_verify(jwk: dict[str, Any], algorithm: str) -> bool:
    """Say whether the key's own members allow it. A key with its private half proves nothing."""
    return (
        jwk.get("alg") in (None, algorithm)
        and jwk.get("use") in (None, "sig")
        and "verify" in (jwk.get("key_ops") or ["verify"])
        and "d" not in jwk
    )
