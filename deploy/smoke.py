"""`make smoke`: the very code of the function Smoke, run from here, with a table to read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from deploy.environments import DeployError, Environment
from deploy.secret_store import jwt_secret

_ROOT = Path(__file__).resolve().parents[1]
_LOCAL_SECRET = _ROOT / ".local" / "jwt_secret"  # what `make run` signs tokens with


def smoke(url: str, environment: Environment, settings: Mapping[str, str]) -> int:
    """Visit the API at `url` and print each step; 1 when one failed. Raises DeployError."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise DeployError("URL has to be the API's address: make smoke URL=https://...")
    sys.path.insert(0, str(_ROOT / "functions" / "smoke"))
    identity, api, visit = map(import_module, ("identity", "api", "visit"))
    token = identity.token(_secret(url, environment, settings), settings)
    failed = False
    for step in visit.Visit(api.Api(url.rstrip("/"), identity.USER, token)).run():
        print(f"{step.name:<9} {step.ms:>8.1f} ms  {step.error or 'ok'}", flush=True)
        failed = failed or bool(step.error)
    return int(failed)


def _secret(url: str, environment: Environment, settings: Mapping[str, str]) -> str:
    """JWT_SECRET; of the API on this machine the one it made; else the environment's."""
    if given := settings.get("JWT_SECRET"):
        return given
    if urlsplit(url).hostname in ("127.0.0.1", "localhost") and _LOCAL_SECRET.is_file():
        return _LOCAL_SECRET.read_text().strip()
    return jwt_secret(environment)
