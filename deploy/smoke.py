"""`make smoke`: invoke the deployed function Smoke, or run its code against a local API."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from deploy.environments import DeployError
from deploy.target import Target, outputs

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 180  # longer than Smoke itself may take
_LOCAL_SECRET = _ROOT / ".local" / "jwt_secret"  # what `make run` signs tokens with


def invoke_smoke(target: Target) -> int:
    """Invoke Smoke in the stack and print its report; return 1 when it failed.

    No token and no secret is needed here. Raises DeployError when there is no such stack.
    """
    function = outputs(target.stack).get("SmokeFunction")
    if not function:
        raise DeployError(f"There is no stack {target.stack} with a function Smoke.")
    client = boto3.client(
        "lambda", config=Config(read_timeout=_SECONDS, retries={"total_max_attempts": 1})
    )
    response = client.invoke(FunctionName=function, Payload=b"{}")
    report = json.loads(response["Payload"].read())
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return int("FunctionError" in response)


def visit(url: str, settings: Mapping[str, str]) -> int:
    """Run Smoke's own code against the API at `url` and print each step; return 1 for a failure.

    The token is signed with JWT_SECRET, or with what `make run` made. Raises DeployError.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DeployError("URL has to be the API's address: make smoke URL=http://127.0.0.1:8000")
    sys.path.insert(0, str(_ROOT / "functions" / "smoke"))
    api, smoke = map(import_module, ("api", "visit"))
    token = api.token(_secret(settings))
    failed = False
    for step in smoke.visit(api.Api(url.rstrip("/"), token)):
        print(f"{step.name:<9} {step.ms:>8.1f} ms  {step.error or 'ok'}", flush=True)
        failed = failed or bool(step.error)
    return int(failed)


def _secret(settings: Mapping[str, str]) -> str:
    if given := settings.get("JWT_SECRET"):
        return given
    if _LOCAL_SECRET.is_file():
        return _LOCAL_SECRET.read_text().strip()
    raise DeployError("Start the API with `make run`, or set JWT_SECRET to the one it has.")
