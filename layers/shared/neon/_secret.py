"""The connection string out of AWS Secrets Manager, for those who keep it there."""

from __future__ import annotations

import json
from typing import Any

from neon._errors import Misconfigured, Unavailable

__all__ = ["secret_url"]

_KEYS = ("DATABASE_URL", "database_url", "url")
_PERMANENT = {"ResourceNotFoundException", "AccessDeniedException", "InvalidRequestException"}


def secret_url(name: str) -> str:
    """The connection string that a secret holds, as plain text or as a JSON object's member.

    The member is `DATABASE_URL`, `database_url` or `url`. Raises Misconfigured for a secret
    that is not there, not allowed or holds none; Unavailable where asking again may help.
    """
    import boto3  # here alone: it costs about 200 ms, and comes with Lambda's runtime

    try:
        client = boto3.client("secretsmanager")
        text = client.get_secret_value(SecretId=name).get("SecretString", "")
    except Exception as error:  # botocore makes its exception classes at run time
        raise _translated(error, name) from error
    return _url_in(text, name)


def _translated(error: Exception, name: str) -> Misconfigured | Unavailable:
    response: dict[str, Any] = getattr(error, "response", {})
    code = response.get("Error", {}).get("Code", type(error).__name__)
    if code in _PERMANENT or code.startswith("No"):  # NoCredentialsError, NoRegionError
        return Misconfigured(f"the secret {name} cannot be read ({code})")
    return Unavailable(f"the secret {name} cannot be read now ({code})")


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
    raise Misconfigured(f"the secret {name} holds no postgresql:// connection string")
