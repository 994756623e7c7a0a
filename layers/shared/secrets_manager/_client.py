"""GetSecretValue over HTTPS, tried again where that can help.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
from urllib.parse import urlsplit

from secrets_manager._credentials import Credentials
from secrets_manager._http import post
from secrets_manager._signature import signed

__all__ = ["SecretRefusedError", "SecretUnavailableError", "get_secret"]

_TRIES = 3
_PAUSE_SECONDS = 0.2
_TRANSIENT = {"InternalServiceError", "ThrottlingException", "RequestTimeout"}


class SecretRefusedError(Exception):
    """There is no such secret, or this function may not read it; a person has to act."""


class SecretUnavailableError(Exception):
    """Secrets Manager could not be asked, or could not answer now; try again."""


def get_secret(name: str, *, timeout: float = 5.0) -> str:
    """The current text of a secret, by its name or ARN.

    Three tries within `timeout` seconds, a few tenths of a second apart. Raises
    SecretRefusedError and SecretUnavailableError; neither text holds anything of the secret.
    """
    end = time.monotonic() + timeout
    for tries in range(1, _TRIES + 1):
        try:
            return _once(name, max(0.05, end - time.monotonic()))
        except SecretUnavailableError:
            if tries == _TRIES or time.monotonic() >= end:
                raise
            time.sleep(random.SystemRandom().uniform(0.0, _PAUSE_SECONDS * tries))
    raise AssertionError("unreachable: the last try returns or raises")


def _once(name: str, seconds: float) -> str:
    try:
        body = json.dumps({"SecretId": name}).encode()
        credentials, region = Credentials.found(), os.environ["AWS_REGION"]
        endpoint = _endpoint(region)
        headers = signed(urlsplit(endpoint).netloc, body, region, credentials)
        status, answer = post(endpoint, body, headers, seconds)
        document = json.loads(answer)
    except KeyError as error:
        raise SecretRefusedError(f"the secret {name} cannot be read: {error} is not set") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        text = f"the secret {name} cannot be read now ({type(error).__name__})"
        raise SecretUnavailableError(text) from error
    if status == http.client.OK and isinstance(document.get("SecretString"), str):
        return str(document["SecretString"])
    raise _refusal(name, status, str(document.get("__type", "no text")))


def _refusal(name: str, status: int, kind: str) -> SecretRefusedError | SecretUnavailableError:
    code = kind.rpartition("#")[2]
    if status >= http.client.INTERNAL_SERVER_ERROR or code in _TRANSIENT:
        return SecretUnavailableError(f"the secret {name} cannot be read now ({code})")
    return SecretRefusedError(f"the secret {name} cannot be read ({code})")


def _endpoint(region: str) -> str:
    """The region's, unless one of AWS's own variables names another."""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return (
        os.environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER")
        or os.environ.get("AWS_ENDPOINT_URL")
        or f"https://secretsmanager.{region}.{domain}"
    )
