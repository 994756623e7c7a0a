"""The shared secret from Secrets Manager, and what happens when it is rotated.

JWT_SECRET_ID names the secret; JWT_SECRET holds it where there is no Secrets Manager. After a
rotation the version before (AWSPREVIOUS) stays good until the next one, so that no token is refused
that was valid a minute ago.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import settings
from tokens import Caller, UnknownSignatureError, Verifier

from observability import logger

MAX_AGE_SECONDS = 300.0  # as long as the gateway keeps a verdict, too
COOLDOWN_SECONDS = 1.0  # between two searches, so that forged tokens cause few of them
RETRY_SECONDS = 30.0  # after a search that failed
_INIT_SECONDS = 5.0
_RENEWAL_SECONDS = 1.0  # for each of two versions: an invocation has five seconds


class RotatingVerifier:
    """A verifier that looks its secret up again when it is old or did not make a signature.

    While Secrets Manager cannot be asked, the secrets that are known stay in use.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        *,
        fetch: Callable[[str, str, float], str] | None = None,
        clock: Callable[[], float] = time.time,  # time.monotonic stops while Lambda freezes us
    ) -> None:
        """Fetch the secret and check all settings. Raises SettingsError, and what `fetch` does.

        `fetch` gets the secret's name, the stage of the wanted version and a timeout in seconds.
        The version before is not fetched here, because that would make every cold start longer.
        """
        self._environment = dict(environment)
        self._name = self._environment.get("JWT_SECRET_ID", "")
        self._fetch = fetch or _fetch
        self._clock = clock
        self._next_renewal = clock() + MAX_AGE_SECONDS
        self._next_search = float("-inf")
        if self._name:
            current = self._fetch(self._name, "AWSCURRENT", _INIT_SECONDS)
            self._environment |= {"JWT_SECRET": current, "JWT_PREVIOUS_SECRET": ""}
        self._verifier = Verifier(settings.from_environment(self._environment))

    def verify(self, authorization: str) -> Caller:
        """Return the caller by the newest secrets, as `Verifier.verify` does."""
        if self._name and self._clock() >= self._next_renewal:
            self._look_up()
        try:
            return self._verifier.verify(authorization)
        except UnknownSignatureError:
            if not self._name or self._clock() < self._next_search or not self._look_up():
                raise
            return self._verifier.verify(authorization)

    def _look_up(self) -> bool:
        """Fetch both versions; return whether one of them is new here."""
        self._next_renewal = self._clock() + MAX_AGE_SECONDS
        self._next_search = self._clock() + COOLDOWN_SECONDS
        try:
            current = self._fetch(self._name, "AWSCURRENT", _RENEWAL_SECONDS)
            return self._take(current, self._previous())
        except Exception as error:
            self._next_search = self._clock() + RETRY_SECONDS
            logger.warning("the secrets that are known stay in use: %s", error)
            return False

    def _previous(self) -> str:
        """Return the version before the current one; "" if there is none that is safe."""
        from secrets_manager import SecretRefusedError

        try:
            previous = self._fetch(self._name, "AWSPREVIOUS", _RENEWAL_SECONDS)
            return settings.check_secret(previous, "the previous version")
        except (SecretRefusedError, settings.SettingsError) as error:
            logger.info("only the current version is accepted: %s", error)
            return ""

    def _take(self, current: str, previous: str) -> bool:
        renewed = {"JWT_SECRET": current, "JWT_PREVIOUS_SECRET": previous}
        if renewed.items() <= self._environment.items():
            return False
        self._verifier = Verifier(settings.from_environment({**self._environment, **renewed}))
        self._environment.update(renewed)
        logger.info("the secrets were renewed")
        return True


def _fetch(name: str, stage: str, timeout: float) -> str:
    from secrets_manager import get_secret  # only where a secret is named

    return get_secret(name, stage=stage, timeout=timeout)
