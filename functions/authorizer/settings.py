"""What tokens are accepted, from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

_SECRET_BYTES = 32


class UnsafeSettings(Exception):
    """The settings would let in who should not be; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The secret, and the issuer and audience that are accepted; None accepts any."""

    secret: str
    issuer: str | None
    audience: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read JWT_SECRET, JWT_ISSUER and JWT_AUDIENCE. Raises UnsafeSettings."""
        secret = environment.get("JWT_SECRET", "")
        if len(secret.encode()) < _SECRET_BYTES:
            raise UnsafeSettings(f"JWT_SECRET has to be at least {_SECRET_BYTES} bytes long")
        return cls(
            secret,
            environment.get("JWT_ISSUER") or None,
            environment.get("JWT_AUDIENCE") or None,
        )
