"""The command line: `python -m deploy COMMAND ENVIRONMENT ...`; `make` has a target for each.

A failure is one sentence on stderr and exit status 1.
"""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.deployment import deploy, destroy, make_pipeline
from deploy.environments import DeployError, Environment, find_region, read_environment
from deploy.rollback import roll_back, undo
from deploy.secret_store import replace_connection_strings, rotate_jwt
from deploy.smoke import invoke_smoke, visit_local
from deploy.template import TemplateError

_SECRET_VARIABLES = ("DATABASE_URL", "MIGRATION_URL", "JWT_SECRET")


def main() -> None:
    """Run one command."""
    parser = ArgumentParser(prog="python -m deploy")
    parser.add_argument(
        "command", choices=["deploy", "destroy", "pipeline", "rollback", "secrets", "smoke"]
    )
    parser.add_argument("environment")
    parser.add_argument("--built", action="store_true", help="deploy what is in .aws-sam")
    parser.add_argument("--functions", help="to roll back, with commas")
    parser.add_argument("--undo", action="store_true", help="what the last rollback moved")
    parser.add_argument("--rotate", choices=["jwt"], help="the secret to store anew")
    parser.add_argument("--repository", help="on GitHub, as owner/name")
    parser.add_argument("--url", help="of a local API, to be used as a customer does")
    given, for_sam = parser.parse_known_args()
    try:
        if given.command == "smoke" and given.url:
            visit_local(given.url)
        else:
            _run(given, read_environment(Path("samconfig.toml"), given.environment), for_sam)
    except (DeployError, TemplateError) as error:
        sys.exit(str(error))
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS refuses: {error}")


def _run(given: Namespace, environment: Environment, for_sam: Sequence[str]) -> None:
    region = find_region()
    account = boto3.client("sts").get_caller_identity()["Account"]
    print(f"Stack {environment.stack} in account {account}, region {region}")
    for name in _SECRET_VARIABLES:
        if os.environ.pop(name, None):
            print(f"{name} is set in this shell and ignored; `make secrets` asks for it.")
    match given.command:
        case "deploy":
            deploy(environment, is_built=given.built, options=for_sam)
        case "destroy":
            destroy(environment)
        case "pipeline":
            make_pipeline(environment, given.repository)
        case "rollback" if given.undo:
            undo(environment)
        case "rollback":
            roll_back(environment, given.functions)
        case "secrets" if given.rotate:
            rotate_jwt(environment)
        case "secrets":
            replace_connection_strings(environment)
        case "smoke":
            invoke_smoke(environment)


if __name__ == "__main__":
    main()
