"""The shared secret out of Secrets Manager, and what to do when it is rotated.

JWT_SECRET_ID names the secret; JWT_SECRET holds it where there is no Secrets Manager.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping

import settings
from tokens import Caller, TokenError, Verifier

logger = logging.getLogger(__name__)

MAX_AGE_SECONDS = 300.0  # as long as the gateway keeps a verdict, too
COOLDOWN_SECONDS = 30.0  # so that bad tokens cannot make it hammer Secrets Manager


class RotatingVerifier:
    """A verifier whose secret is looked up again when it is old, or when a token was refused.

    While Secrets Manager cannot be asked, the secret of before stays in use.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        *,
        fetch: Callable[[str], str] | None = None,
        clock: Callable[[], float] = time.time,  # the monotonic one stands still while frozen
    ) -> None:
        """Fetch the secret and check all settings. Raises SettingsError, and what `fetch` does."""
        self._environment = dict(environment)
        self._name = self._environment.get("JWT_SECRET_ID", "")
        self._fetch = fetch or _fetch
        self._clock = clock
        self._looked_up = clock()
        if self._name:
            self._environment["JWT_SECRET"] = self._fetch(self._name)
        self._verifier = Verifier(settings.from_environment(self._environment))

    def verify(self, authorization: str) -> Caller:
        """The caller, as `Verifier.verify` says and raises it, by the newest secret."""
        self._renew(MAX_AGE_SECONDS)
        try:
            return self._verifier.verify(authorization)
        except TokenError:
            if not self._renew(COOLDOWN_SECONDS):
                raise
            return self._verifier.verify(authorization)

    def _renew(self, age: float) -> bool:
        """Look the secret up if that was done `age` seconds ago; whether it is another one."""
        now = self._clock()
        if not self._name or now - self._looked_up < age:
            return False
        self._looked_up = now
        try:
            return self._take(self._fetch(self._name))
        except Exception as error:
            logger.warning("the secret of before stays in use: %s", error)
            return False

    def _take(self, secret: str) -> bool:
        if secret == self._environment["JWT_SECRET"]:
            return False
        renewed = {**self._environment, "JWT_SECRET": secret}
        self._verifier = Verifier(settings.from_environment(renewed))
        self._environment = renewed
        logger.info("the secret was rotated")
        return True


def _fetch(name: str) -> str:
    from secrets_manager import get_secret  # only where a secret is named

    return get_secret(name)
