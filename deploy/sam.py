"""SAM CLI as a child process, which gets no secret in its environment."""

from __future__ import annotations

import os
import subprocess

from deploy.environments import DeployError

SECRET_VARIABLES = ("DATABASE_URL", "MIGRATION_URL", "JWT_SECRET")
_PROGRAM = ".venv-sam/bin/sam"


def sam(*arguments: str, **variables: str) -> None:
    """Run SAM CLI and show its output. Raises DeployError when it fails."""
    kept = {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
    command = [os.environ.get("SAM", _PROGRAM), *arguments]
    result = subprocess.run(command, env=kept | variables, check=False)  # noqa: S603 - our own
    if result.returncode != 0:
        raise DeployError(f"`sam {arguments[0]}` failed; its output above says why.")
