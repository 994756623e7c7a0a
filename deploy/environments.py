"""What every command needs: the environment, its stack in AWS, SAM CLI, and a person's answers."""

import getpass
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from botocore.exceptions import ClientError

# SAM CLI removes outer quotation marks, and a backslash before one or before a blank.
_UNQUOTED = re.compile(r"""^(["']).*\1$|\\[ "']""", re.S)


class DeployError(Exception):
    """The command cannot go on; the text is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One section of samconfig.toml: its name, its stack, and the parameters that it sets.

    Customers use an environment that `is_protected`: a person has to confirm what cannot be undone.
    `alarm_email` is None where nothing is monitored.
    """

    name: str
    stack: str
    parameters: Mapping[str, str]
    is_protected: bool = False
    alarm_email: str | None = None


def read_environment(path: Path, name: str) -> Environment:
    """Return the environment of this name. Raise DeployError when there is none."""
    document = tomllib.loads(path.read_text())
    sections = {key: value for key, value in document.items() if isinstance(value, dict)}
    settings = sections.get(name, {}).get("global", {}).get("parameters")
    if settings is None:
        known = ", ".join(key for key, value in sections.items() if "global" in value)
        raise DeployError(f"samconfig.toml has no environment {name!r}; ENV is one of {known}.")
    return Environment(
        name,
        settings["stack_name"],
        {key: str(value) for key, value in settings["parameter_overrides"].items()},
        is_protected=settings.get("termination_protection", False),
        alarm_email=settings.get("alarm_email"),
    )


def find_region() -> str:
    """Return the region in which every command acts. Raise DeployError when none is set."""
    if region := boto3.session.Session().region_name:
        return region
    raise DeployError("No region is set: export AWS_REGION, or set one in your AWS profile.")


def describe(stack: str) -> dict[str, Any]:
    """Return what CloudFormation knows of a stack; nothing when there is no such stack."""
    try:
        (found,) = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            return {}
        raise
    return dict(found)


def outputs(stack: str) -> dict[str, str]:
    """Return a stack's outputs by name; none when there is no such stack, or a failed one."""
    found = describe(stack).get("Outputs", [])
    return {each["OutputKey"]: each["OutputValue"] for each in found}


def sam_deploy(parameters: Mapping[str, str], *arguments: str) -> None:
    """Deploy a stack with SAM CLI. Raise DeployError when it fails.

    The parameters go through a file, because SAM CLI cuts a value of its command line at a blank
    or a quotation mark. A parameter that is left out would keep its previous value.
    """
    for name, value in parameters.items():
        if _UNQUOTED.search(value):
            raise DeployError(f"SAM CLI would change the quotation marks or backslashes of {name}.")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "parameters.yaml"
        path.write_text(json.dumps(dict(parameters), ensure_ascii=False))  # JSON is YAML
        sam("deploy", *arguments, "--parameter-overrides", f"file://{path}")


def sam(command: str, *arguments: str, **variables: str) -> None:
    """Run SAM CLI and show its output. Raise DeployError when it fails."""
    program = os.environ.get("SAM", ".venv-sam/bin/sam")
    sys.stdout.flush()  # what was said so far comes before SAM CLI's output
    result = subprocess.run(  # noqa: S603 - our own
        [program, command, "--region", find_region(), *arguments],
        env=os.environ | variables,
        check=False,
    )
    if result.returncode != 0:
        raise DeployError(f"`sam {command}` failed; its output above says why.")


def ask(question: str, *, is_secret: bool = False) -> str:
    """Return the next line of standard input; a terminal shows the question, and no secret."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    if is_secret:
        return getpass.getpass(f"{question} ").strip()
    print(question, end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def confirm(environment: Environment, what: str) -> None:
    """Let a person type a protected stack's name before `what`. Raise DeployError if not."""
    stack = environment.stack
    if environment.is_protected and ask(f"{what} Type {stack} to go on:") != stack:
        raise DeployError(f"Nothing was changed: the answer was not {stack}.")
