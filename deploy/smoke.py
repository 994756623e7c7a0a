"""`make smoke`: invoke the deployed function Smoke, or run its code against a local API."""

import contextlib
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from api import USER, Api, token
from botocore.config import Config
from visit import visit

import http_client
from deploy.environments import DeployError, Environment, outputs

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 180  # longer than Smoke itself may take
_TOKEN_SECONDS = 5
_LOCAL_SECRET = _ROOT / ".local" / "jwt_secret"  # what `make run` signs tokens with


def invoke_smoke(environment: Environment) -> None:
    """Invoke Smoke in the stack and print its report; exit with 1 when it failed.

    No token and no secret is needed here. Raise DeployError when there is no such stack.
    """
    function = outputs(environment.stack).get("SmokeFunction")
    if not function:
        raise DeployError(f"There is no stack {environment.stack} with a function Smoke.")
    config = Config(read_timeout=_SECONDS, retries={"total_max_attempts": 1})
    response = boto3.client("lambda", config=config).invoke(FunctionName=function, Payload=b"{}")
    print(json.dumps(json.load(response["Payload"]), indent=2, ensure_ascii=False))
    if "FunctionError" in response:
        sys.exit(1)


def visit_local(url: str) -> None:
    """Run Smoke's own code against the API at `url`, print each step, exit with 1 for a failure.

    Raise DeployError.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DeployError("URL has to be the API's address: make smoke URL=http://127.0.0.1:8000")
    failed = False
    address = url.rstrip("/")
    for step in visit(Api(address, _local_token(address))):
        print(f"{step.name:<9} {step.ms:>8.1f} ms  {step.error or 'ok'}", flush=True)
        failed = failed or bool(step.error)
    sys.exit(int(failed))


def _local_token(url: str) -> str:
    """Return a token as `make token` does. Raise DeployError.

    JWT_SECRET signs it if it is set, else `make run` at this address, else the secret that is kept.
    """
    if given := os.environ.get("JWT_SECRET"):
        return token(given)
    with contextlib.suppress(http_client.HTTPClientError):  # the first step says why
        response = http_client.request(
            "POST",
            f"{url}/local/token",
            body=USER.encode(),
            headers={"Origin": url},
            timeout=_TOKEN_SECONDS,
        )
        if response.status == 200:
            return response.body.decode()
    if not _LOCAL_SECRET.is_file():
        raise DeployError("Start the API with `make run`, or set JWT_SECRET to the one it has.")
    return token(_LOCAL_SECRET.read_text().strip())
