"""The command line: `python -m deploy COMMAND ENVIRONMENT ...`; `make` has a target for each.

What goes wrong is one sentence on stderr and exit status 1.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from deploy.environments import DeployError, Environment, read_environment
from deploy.secret_store import forget, store
from deploy.smoke import smoke

_USAGE = "usage: python -m deploy {secrets|forget|parameter|smoke} ENVIRONMENT [NAME|URL]"


def main() -> int:
    """Run one command and return its exit status."""
    try:
        command, environment, *rest = sys.argv[1:]
    except ValueError:
        sys.exit(_USAGE)
    try:
        return _run(command, read_environment(Path("samconfig.toml"), environment), rest)
    except DeployError as error:
        sys.exit(str(error))
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS refuses: {error}")


def _run(command: str, environment: Environment, rest: list[str]) -> int:
    match command, rest:
        case "secrets", []:
            for line in store(environment, os.environ):
                print(line)
        case "forget", []:
            for line in forget(environment):
                print(line)
        case "parameter", [name]:
            print(environment.parameters.get(name, ""))
        case "smoke", [url]:
            return smoke(url, environment, os.environ)
        case _:
            raise DeployError(_USAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
