"""The keys that may have signed a token: a secret with its rotation, or an issuer's JWKS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Protocol

import strict_json
from jwt import PyJWK, PyJWTError
from jwt.algorithms import HMACAlgorithm
from settings import Issuer, SettingsError, canonical, check_secret

import http_client
from observability import logger

Clock = Callable[[], float]  # time.time, because time.monotonic stops while Lambda freezes us

MAX_AGE_SECONDS = 600.0
COOLDOWN_SECONDS = 30.0
RETRY_SECONDS = 1.0
FETCH_SECONDS = 2.0
MAX_BYTES = 256 * 1024
SECRET_MAX_AGE_SECONDS = 300.0  # as long as the gateway keeps a verdict, too
SECRET_COOLDOWN_SECONDS = 1.0  # between two searches, so that forged tokens cause few of them
SECRET_RETRY_SECONDS = 30.0  # after a search that failed
_INIT_SECONDS = 5.0
_RENEWAL_SECONDS = 1.0  # for each of two versions: an invocation has five seconds
_ALGORITHM_OF = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}


class UnknownKeyError(Exception):
    """The issuer has no such key for such an algorithm."""


class KeysUnavailableError(Exception):
    """The issuer has never been reached, so nobody can tell whether a token is good."""


class Keys(Protocol):
    """The keys of one issuer."""

    def find(self, kid: str | None, algorithm: str) -> Iterable[PyJWK]:
        """Return the keys for a token's key id and its algorithm, one of the issuer's.

        Raise UnknownKeyError or KeysUnavailableError.
        """

    @property
    def secret(self) -> str:
        """Return the secret that signs now, "" for an issuer with a JWKS."""


def keys_of(issuer: Issuer, clock: Clock) -> Keys:
    """Return an issuer's keys. A secret has no key id."""
    if issuer.jwks_url:
        return RemoteKeys(issuer.jwks_url, issuer.algorithms, clock=clock)
    if issuer.secret_id:
        return RotatingSecret(issuer.secret_id, clock=clock)
    return FixedSecret(issuer.secret, issuer.previous_secret)


class FixedSecret:
    """A secret from the settings, beside the one before it."""

    def __init__(self, secret: str, previous: str = "") -> None:
        self.secret = secret
        self._keys = [_symmetric(each) for each in (secret, previous) if each]

    def find(self, _kid: str | None, _algorithm: str) -> list[PyJWK]:
        """Return both keys."""
        return self._keys


class RotatingSecret:
    """A secret of Secrets Manager, looked up again when it is old or did not make a signature.

    After a rotation the version before (AWSPREVIOUS) stays good until the next one, so that no
    token is refused that was valid a minute ago. While Secrets Manager cannot be asked, the
    versions that are known stay in use.
    """

    def __init__(self, name: str, *, clock: Clock = time.time) -> None:
        """Fetch the current version. Raise SettingsError, or an error of `get_secret`.

        The version before is not fetched here, because that would make every cold start longer.
        """
        self._name = name
        self._clock = clock
        self._next_renewal = clock() + SECRET_MAX_AGE_SECONDS
        self._next_search = float("-inf")
        self._keys = self._version("AWSCURRENT", _INIT_SECONDS)

    @property
    def secret(self) -> str:
        """Return the current version, the first of those that are known."""
        return next(iter(self._keys))

    def find(self, _kid: str | None, _algorithm: str) -> Iterator[PyJWK]:
        """Yield the versions that are known; if no signature is theirs, those that are new."""
        if self._clock() >= self._next_renewal:
            self._look_up()
        known = self._keys
        yield from known.values()
        if self._clock() >= self._next_search:
            self._look_up()
            yield from (key for secret, key in self._keys.items() if secret not in known)

    def _look_up(self) -> None:
        """Fetch both versions."""
        self._next_renewal = self._clock() + SECRET_MAX_AGE_SECONDS
        self._next_search = self._clock() + SECRET_COOLDOWN_SECONDS
        try:
            keys = self._version("AWSCURRENT", _RENEWAL_SECONDS) | self._previous()
        except Exception as error:
            self._next_search = self._clock() + SECRET_RETRY_SECONDS
            logger.warning("the secrets that are known stay in use: %s", error)
            return
        if keys.keys() != self._keys.keys():
            logger.info("the secrets were renewed")
        self._keys = keys

    def _previous(self) -> dict[str, PyJWK]:
        from secrets_manager import SecretRefusedError

        try:
            return self._version("AWSPREVIOUS", _RENEWAL_SECONDS)
        except (SecretRefusedError, SettingsError) as error:
            logger.info("only the current version is accepted: %s", error)
            return {}

    def _version(self, stage: str, timeout: float) -> dict[str, PyJWK]:
        secret = check_secret(_get_secret(self._name, stage, timeout), f"{stage} of {self._name}")
        return {secret: _symmetric(secret)}


def _get_secret(name: str, stage: str, timeout: float) -> str:
    from secrets_manager import get_secret  # only where a secret is named

    return get_secret(name, stage=stage, timeout=timeout)


def _symmetric(secret: str) -> PyJWK:
    return PyJWK(HMACAlgorithm.to_jwk(secret, as_dict=True), "HS256")


class RemoteKeys:
    """An issuer's JWKS, fetched when a token first needs it and kept in this environment.

    It is fetched again when it is older than `MAX_AGE_SECONDS`, and for a key that is not in it at
    most once in `COOLDOWN_SECONDS`, so that made-up key ids cannot flood the issuer with requests.
    While the issuer is down its old keys stay; a withdrawn key is gone after the next fetch.
    """

    secret = ""

    def __init__(self, url: str, algorithms: frozenset[str], *, clock: Clock = time.time) -> None:
        self._url = url
        self._algorithms = algorithms
        self._clock = clock
        self._keys: Mapping[tuple[str, str], PyJWK] | None = None
        self._next_fetch = self._next_search = float("-inf")

    def find(self, kid: str | None, algorithm: str) -> Iterable[PyJWK]:
        """Return the key of that id and algorithm. Raise UnknownKeyError, KeysUnavailableError."""
        if kid is None:
            raise UnknownKeyError
        key, now = (kid, algorithm), self._clock()
        if now >= self._next_fetch:
            self._fetch(now)
        elif self._keys is not None and key not in self._keys and now >= self._next_search:
            self._next_search = now + COOLDOWN_SECONDS
            self._fetch(now)
        if self._keys is None:
            raise KeysUnavailableError("no keys of the issuer have been fetched yet")
        if key not in self._keys:
            raise UnknownKeyError
        return [self._keys[key]]

    def _fetch(self, now: float) -> None:
        try:
            response = http_client.request(
                "GET",
                self._url,
                headers={"Accept": "application/json"},
                timeout=FETCH_SECONDS,
                max_bytes=MAX_BYTES,
            )
            self._keys = _usable(response, self._algorithms)
        except (http_client.HTTPClientError, ValueError) as error:
            logger.warning("no keys from %s: %s", self._url, error)
            self._next_fetch = now + (RETRY_SECONDS if self._keys is None else COOLDOWN_SECONDS)
        else:
            self._next_fetch = now + MAX_AGE_SECONDS


def _usable(
    response: http_client.Response, algorithms: frozenset[str]
) -> dict[tuple[str, str], PyJWK]:
    """Return the usable keys of a JWKS by id and algorithm. Raise ValueError if it is not one."""
    keys: dict[tuple[str, str], PyJWK] = {}
    for kid, key in judged(response, algorithms):
        if isinstance(key, str):
            logger.info("a key of the issuer %s", key)
        else:
            keys.setdefault((kid, key.algorithm_name), key)
    return keys


def judged(
    response: http_client.Response, algorithms: frozenset[str]
) -> Iterator[tuple[str, PyJWK | str]]:
    """Yield the id of each key of a JWKS, and the key, or why it is not used.

    Raise ValueError if the response is no JWKS.
    """
    if response.status != HTTPStatus.OK:
        raise ValueError(f"status {response.status}")
    parsed = strict_json.parse(response.body)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("keys"), list):
        raise ValueError("the response is not a JWKS")
    for jwk in parsed["keys"]:
        key = _key(jwk)
        if isinstance(key, PyJWK) and key.algorithm_name not in algorithms:
            key = f"is for {key.algorithm_name}, which is none of the issuer's algorithms"
        yield str(jwk.get("kid")) if isinstance(jwk, dict) else "", key


def _key(jwk: dict[str, Any]) -> PyJWK | str:
    """Return the public key for the one algorithm of its type and curve, or why it is unfit.

    Its own members have to allow that. A key with its private half proves nothing.
    """
    try:
        algorithm = _ALGORITHM_OF.get((jwk["kty"], jwk.get("crv")))
        reasons = {
            "is not of the type RSA, P-256 or Ed25519": algorithm is None,
            "has no id": not isinstance(jwk.get("kid"), str),
            "names an algorithm that is not its type's": (
                canonical(jwk.get("alg")) not in (None, algorithm)
            ),
            "is not for signatures": jwk.get("use") not in (None, "sig"),
            "is not for verifying": "verify" not in (jwk.get("key_ops") or ["verify"]),
            "is published with its private half": "d" in jwk,
        }
        if reason := next((text for text, is_so in reasons.items() if is_so), ""):
            return reason
        key = PyJWK(jwk, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError) as error:
        return f"cannot be read ({type(error).__name__})"
    return "is too short" if key.Algorithm.check_key_length(key.key) else key
