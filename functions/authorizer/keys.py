"""The keys that an issuer's tokens are verified with: its shared secret, or its JWKS."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import strict_json
from fetch import FetchError, fetch
from jwt import PyJWK, PyJWTError

logger = logging.getLogger(__name__)

MAX_AGE_SECONDS = 600.0
COOLDOWN_SECONDS = 30.0
RETRY_SECONDS = 1.0
_RSA_BITS = 2048  # RFC 7518, section 3.3
_KEY_PARTS = ("kty", "crv", "x", "y", "n", "e")  # nothing private, nothing that names a URL
_ALGORITHM_OF = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}


class UnknownKeyError(Exception):
    """The issuer has no such key for such an algorithm."""


class KeysUnavailableError(Exception):
    """The issuer has never been reached: whether a token is good cannot be told."""


class Keys(Protocol):
    """What finds the key that a token names."""

    def find(self, kid: str | None, algorithm: str) -> PyJWK:
        """The key, bound to the algorithm. Raises UnknownKeyError or KeysUnavailableError."""
        ...


class SharedSecret:
    """One secret; whatever key the token names is not looked at."""

    def __init__(self, secret: str) -> None:
        encoded = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
        self._key = PyJWK({"kty": "oct", "k": encoded}, "HS256")

    def find(self, _kid: str | None, algorithm: str) -> PyJWK:
        """The secret. Raises UnknownKeyError for any algorithm but HS256."""
        if algorithm != self._key.algorithm_name:
            raise UnknownKeyError
        return self._key


class RemoteKeys:
    """An issuer's JWKS, fetched when a token first needs it and kept in this environment.

    It is fetched again when it is older than `MAX_AGE_SECONDS`, and for a key that is not in it at
    most once in `COOLDOWN_SECONDS`, so that made-up key ids cannot make it hammer the issuer.
    While the issuer is down its old keys stay; a key that it withdraws goes with the next fetch.
    """

    def __init__(
        self,
        url: str,
        algorithms: frozenset[str],
        *,
        get: Callable[[str], bytes] = fetch,
        clock: Callable[[], float] = time.time,  # the monotonic one stands still while frozen
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._get = get
        self._clock = clock
        self._keys: Mapping[tuple[str, str], PyJWK] | None = None
        self._next_fetch = self._next_search = float("-inf")

    def find(self, kid: str | None, algorithm: str) -> PyJWK:
        """The key of that id and algorithm. Raises UnknownKeyError, KeysUnavailableError."""
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
        return key

    def _known(self) -> Mapping[tuple[str, str], PyJWK]:
        if self._keys is None:
            raise KeysUnavailableError("no keys of the issuer have been fetched yet")
        return self._keys

    def _fetch(self, now: float) -> None:
        try:
            self._keys = _usable(self._get(self._url), self._algorithms)
        except FetchError as error:
            logger.warning("%s from %s", error, self._url)
            self._next_fetch = now + (RETRY_SECONDS if self._keys is None else COOLDOWN_SECONDS)
        else:
            self._next_fetch = now + MAX_AGE_SECONDS


def _usable(document: bytes, algorithms: frozenset[str]) -> dict[tuple[str, str], PyJWK]:
    """The keys of a JWKS that fit, by id and algorithm. Raises FetchError for no JWKS at all."""
    try:
        listed = strict_json.parse(document)["keys"]
    except (ValueError, TypeError, KeyError) as error:
        raise FetchError("what came is no JWKS") from error
    if not isinstance(listed, list):
        raise FetchError("what came is no JWKS")
    keys: dict[tuple[str, str], PyJWK] = {}
    for jwk in listed:
        key = _key(jwk) if isinstance(jwk, dict) else None
        if key is not None and key.algorithm_name in algorithms:
            keys.setdefault((jwk["kid"], key.algorithm_name), key)
    return keys


def _key(jwk: dict[str, Any]) -> PyJWK | None:
    """The public key for the one algorithm that its type and curve allow; None if it is unfit."""
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
    """What the key says of itself fits. One that shows its private half can prove nothing."""
    return (
        jwk.get("alg") in (None, algorithm)
        and jwk.get("use") in (None, "sig")
        and "verify" in (jwk.get("key_ops") or ["verify"])
        and "d" not in jwk
    )
