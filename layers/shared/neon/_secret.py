"""The connection string out of AWS Secrets Manager, for those who keep it there."""

from __future__ import annotations

import json
import os

from neon._errors import ConfigurationError, UnavailableError

__all__ = ["secret_url", "url_from_environment"]

_KEYS = ("DATABASE_URL", "database_url", "url")


def secret_url(name: str) -> str:
    """The connection string that a secret holds, as plain text or as a JSON object's member.

    The member is `DATABASE_URL`, `database_url` or `url`. Raises ConfigurationError for a secret
    that is not there, not allowed or holds none; UnavailableError where asking again may help.
    """
    from secrets_manager import (
        SecretRefusedError,
        SecretUnavailableError,
        get_secret,
    )  # only where used

    try:
        text = get_secret(name)
    except SecretRefusedError as error:
        raise ConfigurationError(str(error)) from error
    except SecretUnavailableError as error:
        raise UnavailableError(str(error)) from error
    return _url_in(text, name)


def url_from_environment() -> str:
    """The connection string of `DATABASE_URL`, or of the secret that `DATABASE_SECRET` names.

    Raises ConfigurationError and UnavailableError, as `secret_url` does.
    """
    url, secret = os.environ.get("DATABASE_URL", ""), os.environ.get("DATABASE_SECRET", "")
    if not url and secret:
        return secret_url(secret)
    if not url.startswith(("postgres://", "postgresql://")):
        raise ConfigurationError("DATABASE_URL has to be a postgresql:// connection string")
    return url


def _url_in(text: str, name: str) -> str:
    if text.startswith(("postgres://", "postgresql://")):
        return text
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    if isinstance(members, dict):
        for key in _KEYS:
            if isinstance(members.get(key), str):
                return str(members[key])
    # Without `from`: what could not be read is the secret.
    raise ConfigurationError(f"the secret {name} holds no postgresql:// connection string")
