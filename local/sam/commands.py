"""`make sam-local` and `make sam-invoke`: SAM CLI with Docker and a database around it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deploy.template import parse, variable_name
from local.database import embedded_postgres, environ_with
from local.errors import LocalError
from local.invoke import find_event
from local.sam import docker
from local.sam.relay import ADD_HOST, reachable
from local.settings import HOST, Settings
from local.stack import serving_api
from local.terminal import Terminal

IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"
_OF_THE_SHELL = re.compile(
    r"(DOCKER|LC|SSL|XDG)_\w+|\w+_proxy|HOME|LANG|LD_LIBRARY_PATH|PATH|TERM|TMPDIR|USER", re.I
)
_URLS = {"DATABASE_URL", "OWNER_DATABASE_URL"}

_say = partial(print, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Sam:
    """SAM CLI for the artifacts in `build`; `options` belong to every `sam local` command.

    `environ` has SAM's own variables, never those of the functions.
    """

    root: Path
    build: Path
    environ: Mapping[str, str]
    options: list[str]

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start `sam local COMMAND`; SIGINT ends it, containers included.

        It has a session of its own: Ctrl-C reaches it only when we pass it on. When this process is
        killed, the kernel sends it SIGINT.
        """
        sam = ["setpriv", "--pdeathsig=INT", str(_program(self.root)), "local"]
        template = ["--template", str(self.build / "template.yaml")]
        return subprocess.Popen(
            [*sam, *command, *template, *self.options],
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env=self.environ,
            cwd=self.root,
            **options,
        )


def serve(settings: Settings) -> int:
    """Serve the API by `sam local start-api` until it is interrupted."""
    check(settings)
    with sam_local(settings, build(settings)) as sam:
        _say(f"Starting on http://{HOST}:{settings.port} (`make token USER=alice` makes a token)")
        address = ("--host", HOST, "--port", str(settings.port))
        return _until_ended(sam.start("start-api", *address, "--warm-containers", "EAGER"))


def invoke(settings: Settings, function: str = "", given: str = "") -> int:
    """Run one function once by `sam local invoke`."""
    event = find_event(settings, function, given)
    check(settings)
    with sam_local(settings, build(settings)) as sam:
        return _until_ended(sam.start("invoke", function, "--event", str(event)))


def build(settings: Settings) -> Path:
    """Run `make build` and return its folder. Raise LocalError when it fails."""
    if subprocess.run(["make", "--silent", "build"], cwd=settings.root, check=False).returncode:  # noqa: S607
        raise LocalError("`make build` failed.")
    return settings.root / ".aws-sam" / "build"


def _until_ended(process: subprocess.Popen[str]) -> int:
    try:
        return process.wait()
    finally:
        process.send_signal(signal.SIGINT)  # which does nothing when it has ended
        process.wait()


@contextlib.contextmanager
def sam_local(settings: Settings, build: Path) -> Iterator[Sam]:
    """Yield SAM with Docker's image and a migrated database. Remove the containers at the end.

    Raise LocalError with one sentence when something is missing.
    """
    options = shlex.split(settings.environ.get("SAM_OPTIONS", ""))
    if "--invoke-image" not in options and not docker.succeeds("image", "inspect", IMAGE):
        _say(f"Pulling {IMAGE} ...")
        docker.ask("pull", "--quiet", IMAGE)
    with contextlib.ExitStack() as stack:
        postgres = embedded_postgres(settings, _say, shared=True)
        if postgres:
            stack.enter_context(postgres)
        _say("Applying the schema ...")
        asyncio.run(_apply_schema(settings))
        environ = dict(environ_with(settings, postgres))
        for name in _URLS & environ.keys():
            environ[name] = stack.enter_context(reachable(environ[name], docker.bridge()))
        parameters = stack.enter_context(_parameters(settings, environ))
        stack.callback(_remove_containers, build)
        yield Sam(
            root=settings.root,
            build=build,
            environ=environ_of_sam(),
            options=["--parameter-overrides", f"file://{parameters}", *ADD_HOST, *options],
        )


def _remove_containers(build: Path) -> None:
    """Remove our containers: SAM leaves some that it has just started."""
    if found := containers(build):
        docker.ask("rm", "--force", "--volumes", *found)


def containers(build: Path) -> list[str]:
    """Return the ids of the containers that mount the functions of `build`."""
    mounts = [f"--filter=volume={folder}" for folder in build.iterdir() if folder.is_dir()]
    if not mounts:  # `docker ps` without a filter lists everybody's
        return []
    return docker.ask("ps", "--all", "--quiet", *mounts).split()


def check(settings: Settings) -> None:
    """Raise LocalError when SAM CLI or Docker is missing."""
    if not _program(settings.root).exists():
        raise LocalError("SAM CLI is not installed: run `make .venv-sam/ready`.")
    docker.check()


def _program(root: Path) -> Path:
    return root / ".venv-sam" / "bin" / "sam"


def environ_of_sam() -> dict[str, str]:
    """Return SAM's own variables: no telemetry, no credentials, none of the functions'.

    SAM gives functions the shell's value of a variable instead of the template's: DATABASE_URL
    would be the address that only this machine can reach. With credentials it would ask AWS for
    their account before each start.
    """
    nowhere = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG")
    return {
        **{name: value for name, value in os.environ.items() if _OF_THE_SHELL.fullmatch(name)},
        **dict.fromkeys(nowhere, os.devnull),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAM_CLI_TELEMETRY": "0",
    }


async def _apply_schema(settings: Settings) -> None:
    """Apply the schema as `make run` does. Raise LocalError when that fails."""
    with Terminal(settings, sys.stderr, quiet=True) as terminal:
        async with serving_api(settings, 0, terminal, shared=True):
            pass


@contextlib.contextmanager
def _parameters(settings: Settings, environ: Mapping[str, str]) -> Iterator[Path]:
    """Write the template's parameters to a file of this user alone.

    Some are secrets, and everybody can read command lines.
    """
    given = {
        parameter: environ[variable_name(parameter)]
        for parameter in sorted(parse(settings.template)["Parameters"])
        if variable_name(parameter) in environ
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(given, file)  # which is YAML; SAM takes no file of another name
        file.flush()
        yield Path(file.name)
