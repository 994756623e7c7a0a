"""The command line: `python -m deploy COMMAND ENVIRONMENT ...`; `make` has a target for each.

A failure is one sentence on stderr and exit status 1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from deploy.deployment import deploy, destroy, owner_url
from deploy.environments import DeployError, Environment, read_environment
from deploy.pipeline import make_pipeline
from deploy.secret_store import has_connection_strings, replace, rotate_jwt, store_missing
from deploy.smoke import invoke_smoke, visit
from deploy.target import Target, find_target
from deploy.terminal import ask_secret, confirm

_USAGE = "usage: python -m deploy {deploy|destroy|pipeline|secrets|smoke} ENVIRONMENT ..."


def main() -> int:
    """Run one command and return its exit status."""
    try:
        command, name, *rest = sys.argv[1:]
    except ValueError:
        sys.exit(_USAGE)
    try:
        return _run(command, read_environment(Path("samconfig.toml"), name), rest)
    except DeployError as error:
        sys.exit(str(error))
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS refuses: {error}")


def _run(command: str, environment: Environment, rest: list[str]) -> int:
    if command == "smoke" and rest:
        return visit(rest[0], os.environ)
    target = find_target(environment)
    print(target, flush=True)
    match command:
        case "secrets":
            change = _rotate_jwt if rest == ["--rotate=jwt"] else _replace_secrets
            _show(change(environment, target))
        case "deploy":
            options = [each for each in rest if each != "--built"]
            _show(deploy(environment, target, built="--built" in rest, options=options))
        case "destroy":
            _show(destroy(environment, target))
        case "pipeline":
            _show(make_pipeline(environment, target, *rest))
        case "smoke":
            return invoke_smoke(target)
        case _:
            raise DeployError(_USAGE)
    return 0


def _replace_secrets(environment: Environment, target: Target) -> Iterable[str]:
    """Store the owner's connection string; ask before a protected environment's is replaced."""
    url = owner_url()
    if environment.is_protected and has_connection_strings(environment):
        confirm(target.stack, "This replaces the connection strings.")
    yield from replace(environment, url)
    yield from store_missing(environment, owner_url)


def _rotate_jwt(environment: Environment, target: Target) -> Iterable[str]:
    """Store another secret that signs tokens: what is typed, or a random one."""
    secret = ask_secret("The new secret (empty for a random one):")
    if environment.is_protected:
        confirm(target.stack, "This replaces the secret that signs tokens.")
    yield from rotate_jwt(environment, secret)


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
