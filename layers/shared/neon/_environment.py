"""Where the connection string comes from: `DATABASE_URL`, or a secret of AWS Secrets Manager."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial

from neon._errors import ConfigurationError, UnavailableError

__all__ = ["url_from_environment", "url_source"]

_KEYS = ("DATABASE_URL", "database_url", "url")
_SCHEMES = ("postgres://", "postgresql://")
_SECONDS = 5.0


def url_source() -> str | Callable[[float], str]:
    """Return the connection string of `DATABASE_URL`, or a function that fetches the secret.

    `DATABASE_SECRET` names the secret. The function takes the seconds that it may need. Raises
    ConfigurationError if neither variable is set, or the URL is not one.
    """
    url, secret = os.environ.get("DATABASE_URL", ""), os.environ.get("DATABASE_SECRET", "")
    if secret and not url:
        return partial(_secret_url, secret)
    if not url.startswith(_SCHEMES):
        raise ConfigurationError("DATABASE_URL has to be a postgresql:// connection string")
    return url


def url_from_environment() -> str:
    """Return the connection string, fetched within five seconds if it is in a secret.

    Raises ConfigurationError and UnavailableError.
    """
    source = url_source()
    return source if isinstance(source, str) else source(_SECONDS)


def _secret_url(name: str, seconds: float) -> str:
    """Return the connection string that a secret holds, as text or as a JSON object's member.

    The member is `DATABASE_URL`, `database_url` or `url`. Raises ConfigurationError if the secret
    does not exist, is not allowed or holds none; UnavailableError if asking again may help.
    """
    # Imported only where it is used.
    from secrets_manager import SecretRefusedError, SecretUnavailableError, get_secret

    try:
        text = get_secret(name, timeout=seconds)
    except SecretRefusedError as error:
        raise ConfigurationError(str(error)) from error
    except SecretUnavailableError as error:
        raise UnavailableError(str(error)) from error
    if url := _url_in(text):
        return url
    # Outside of any `except`: what could not be read is the secret.
    raise ConfigurationError(f"the secret {name} holds no postgresql:// connection string")


def _url_in(text: str) -> str:
    if text.startswith(_SCHEMES):
        return text
    try:
        members = json.loads(text)
    except ValueError:
        return ""
    found = [members.get(key) for key in _KEYS] if isinstance(members, dict) else []
    return next((each for each in found if isinstance(each, str)), "")
