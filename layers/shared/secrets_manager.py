"""GetSecretValue of AWS Secrets Manager over one signed request, without boto3.

boto3 adds 190 to 240 ms to a cold start. This knows AWS and nothing of what a secret is for.
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import http_client

__all__ = ["SecretRefusedError", "SecretUnavailableError", "get_secret"]

_PAUSES = (0.2, 0.4)  # at most so many seconds between the tries
_TRY_SECONDS = 2.0
_OK, _SERVER_ERROR = 200, 500
_TRANSIENT = {"InternalServiceError", "ThrottlingException", "RequestTimeout"}
_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "secretsmanager"


class SecretRefusedError(Exception):
    """There is no such secret, or this function may not read it; a person has to act."""


class SecretUnavailableError(Exception):
    """Secrets Manager could not be asked, or could not answer now; try again."""


class _Credentials(NamedTuple):
    """Temporary credentials of the function's role."""

    key_id: str
    secret: str
    token: str


def get_secret(name: str, *, stage: str = "AWSCURRENT", timeout: float = 5.0) -> str:
    """Return the text of a secret, by its name or ARN.

    `stage` is a label of a version: `AWSCURRENT`, or `AWSPREVIOUS` for the one before the last
    rotation. Try up to three times within `timeout` seconds. Raise SecretRefusedError and
    SecretUnavailableError; neither text holds anything of the secret.
    """
    deadline = time.monotonic() + timeout
    for pause in _PAUSES:
        try:
            return _get_once(name, stage, deadline)
        except SecretUnavailableError:
            if time.monotonic() + pause >= deadline:
                raise
            time.sleep(random.SystemRandom().uniform(0.0, pause))
    return _get_once(name, stage, deadline)


def _get_once(name: str, stage: str, deadline: float) -> str:
    try:
        body = json.dumps({"SecretId": name, "VersionStage": stage}).encode()
        region = os.environ["AWS_REGION"]
        endpoint = _endpoint(region)
        credentials = _credentials(deadline)
        headers = _signed(urlsplit(endpoint).netloc, body, region, credentials)
        response = http_client.request(
            "POST", endpoint, body=body, headers=headers, timeout=_timeout(deadline)
        )
        document = _object(response.body)
    except KeyError as error:
        raise SecretRefusedError(f"the secret {name} cannot be read: {error} is not set") from None
    except (http_client.HTTPClientError, TypeError, ValueError) as error:
        text = f"the secret {name} cannot be read now ({type(error).__name__})"
        raise SecretUnavailableError(text) from error
    if response.status == _OK and isinstance(document.get("SecretString"), str):
        return str(document["SecretString"])
    raise _refusal(name, response.status, str(document.get("__type", "no text")))


def _object(text: bytes) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise TypeError("it is not a JSON object")
    return document


def _timeout(deadline: float) -> float:
    return min(_TRY_SECONDS, deadline - time.monotonic())


def _refusal(name: str, status: int, kind: str) -> SecretRefusedError | SecretUnavailableError:
    code = kind.rpartition("#")[2]
    if status >= _SERVER_ERROR or code in _TRANSIENT:
        return SecretUnavailableError(f"the secret {name} cannot be read now ({code})")
    return SecretRefusedError(f"the secret {name} cannot be read ({code})")


def _endpoint(region: str) -> str:
    """Return the region's endpoint, unless one of AWS's own variables names another."""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return (
        os.environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER")
        or os.environ.get("AWS_ENDPOINT_URL")
        or f"https://secretsmanager.{region}.{domain}"
    )


def _credentials(deadline: float) -> _Credentials:
    """Read Lambda's variables or, after SnapStart, which cannot set them, ask Lambda's endpoint.

    https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html. Raise KeyError with the
    name of the missing variable, and HTTPClientError when the endpoint does not respond.
    """
    if url := os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        headers = {"Authorization": os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]}
        response = http_client.request("GET", url, headers=headers, timeout=_timeout(deadline))
        given = _object(response.body)
        return _Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["Token"])
    return _Credentials(
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        os.environ.get("AWS_SESSION_TOKEN", ""),
    )


def _signed(host: str, body: bytes, region: str, credentials: _Credentials) -> dict[str, str]:
    """Return the headers of the request with Signature Version 4, which holds for five minutes.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "Host": host,
        "x-amz-date": stamp,
        "x-amz-target": "secretsmanager.GetSecretValue",
    }
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = sorted(headers, key=str.lower)
    signed_names = ";".join(names).lower()
    canonical = "".join(f"{name.lower()}:{headers[name]}\n" for name in names)
    text = f"POST\n/\n\n{canonical}\n{signed_names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{stamp[:8]}/{region}/{_SERVICE}/aws4_request"
    to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(text.encode()).hexdigest()}"
    signature = hmac.new(_signing_key(credentials, scope), to_sign.encode(), hashlib.sha256)
    headers["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.key_id}/{scope},"
        f" SignedHeaders={signed_names}, Signature={signature.hexdigest()}"
    )
    return headers


def _signing_key(credentials: _Credentials, scope: str) -> bytes:
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
