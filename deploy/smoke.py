"""`make smoke`: invoke the deployed function Smoke, or run its code against a local API."""

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from api import Api, token
from botocore.config import Config
from visit import visit

from deploy.environments import DeployError, Environment, outputs

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 180  # longer than Smoke itself may take
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

    The token is signed with JWT_SECRET, or with what `make run` made. Raise DeployError.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DeployError("URL has to be the API's address: make smoke URL=http://127.0.0.1:8000")
    secret = os.environ.get("JWT_SECRET", "")
    if not secret and _LOCAL_SECRET.is_file():
        secret = _LOCAL_SECRET.read_text().strip()
    if not secret:
        raise DeployError("Start the API with `make run`, or set JWT_SECRET to the one it has.")
    failed = False
    for step in visit(Api(url.rstrip("/"), token(secret))):
        print(f"{step.name:<9} {step.ms:>8.1f} ms  {step.error or 'ok'}", flush=True)
        failed = failed or bool(step.error)
    sys.exit(int(failed))
