"""`sam local` with what it needs around it: Docker, the image, settings and a database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.errors import LocalError
from local.packages import Packages
from local.postgres import Postgres
from local.sam import processes
from local.sam.docker import Docker
from local.sam.relay import reachable
from local.settings import HOST, Settings
from local.stack import embedded_postgres, environ_with, serving_api
from local.template import parameter_names, read_template, variable_name
from local.terminal import Terminal

IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"
_DEBUGGER = "/tmp/lambci_debug_files/debugpy"  # noqa: S108 - where SAM mounts a debugger
_URLS = {"DATABASE_URL", "OWNER_DATABASE_URL"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sam:
    """SAM CLI, ready to run what `build` holds; `options` belong to every `sam local`.

    `environ` is SAM's own, never the functions'.
    """

    docker: Docker
    root: Path
    build: Path
    environ: Mapping[str, str]
    options: list[str]

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start `sam local COMMAND`; SIGINT ends it, containers included."""
        program = self.root / ".venv-sam" / "bin" / "sam"
        template = ["--template", str(self.build / "template.yaml")]
        return processes.start(
            [program, "local", *command, *template, *self.options],
            ends_by=signal.SIGINT,
            env=self.environ,
            cwd=self.root,
            **options,
        )

    def invoke(self, function: str, event: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Run `sam local invoke`; its standard output is the answer, the rest are logs."""
        command = ("invoke", function, "--event", str(event), *options)
        with self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate()
            except BaseException:
                processes.end(process, signal.SIGINT)
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextlib.contextmanager
def sam_local(settings: Settings, build: Path, progress: Progress) -> Iterator[Sam]:
    """Yield SAM with everything up around it; at the end nothing of it is left.

    Raises LocalError with one sentence when something is missing.
    """
    docker = Docker()
    check(settings, docker)
    options = shlex.split(settings.environ.get("SAM_OPTIONS", ""))
    if "--invoke-image" not in options:
        _have_image(docker, progress)
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(_database(settings, progress))
        progress("Applying the schema ...")
        asyncio.run(_apply_schema(settings))
        environ = dict(environ_with(settings, postgres))
        for name in _URLS & environ.keys():
            environ[name], found = stack.enter_context(reachable(environ[name], docker.bridge()))
            options += [option for option in found if option not in options]
        parameters = stack.enter_context(_parameters(settings, environ))
        # SAM removes its containers itself, unless it is killed.
        folders = [path for path in build.iterdir() if path.is_dir()]
        stack.callback(docker.remove_containers, folders)
        yield Sam(
            docker=docker,
            root=settings.root,
            build=build,
            environ=_environ(docker, _variables(build, environ)),
            options=["--parameter-overrides", f"file://{parameters}", *options],
        )


def check(settings: Settings, docker: Docker) -> None:
    """Raise LocalError when SAM CLI or Docker is missing."""
    if not (settings.root / ".venv-sam" / "bin" / "sam").exists():
        raise LocalError("SAM CLI is not installed: run `make .venv-sam/ready`.")
    docker.check()


def api_options(settings: Settings, progress: Progress) -> list[str]:
    """Return the options of `sam local start-api`; raises LocalError for the debugger."""
    address = ["--host", HOST, "--port", str(settings.port)]
    debugged = ["--debug-function", settings.debug] if settings.debug else []
    return [
        *address,
        "--warm-containers",
        "EAGER",
        *debugged,
        *debugger_options(settings, progress),
    ]


def debugger_options(settings: Settings, progress: Progress) -> list[str]:
    """Return SAM's options for DEBUG; the function waits until a debugger is attached.

    Raises LocalError when the debugger cannot be installed.
    """
    if not settings.debug:
        return []
    package = asyncio.run(Packages(settings.root, progress).install_debugger())
    port = str(settings.debug_port)
    # Docker publishes the port on loopback; inside the container it has to be open to that.
    listen = f"{_DEBUGGER} --listen 0.0.0.0:{port} --wait-for-client"
    return [
        *("--debug-port", port, "--debugger-path", str(package)),
        *("--debug-args", f"-X frozen_modules=off {listen}"),
    ]


def _have_image(docker: Docker, progress: Progress) -> None:
    if not docker.succeeds("image", "inspect", IMAGE):
        progress(f"Pulling {IMAGE} ...")
        docker.ask("pull", "--quiet", IMAGE)


def _variables(build: Path, environ: Mapping[str, str]) -> set[str]:
    """Return the names of all environment variables that the template gives functions."""
    functions = read_template(build / "template.yaml", environ).functions.values()
    return {name for function in functions for name in function.environment}


def _environ(docker: Docker, variables: set[str]) -> dict[str, str]:
    """Return what SAM runs with: neither telemetry nor credentials nor functions' variables.

    SAM gives functions the shell's value of a variable instead of the template's: DATABASE_URL
    would be the address that only this machine can reach. With credentials it would ask AWS for
    their account before each start.
    """
    hidden = {name for name in docker.environ if name.startswith("AWS_")} | variables
    kept = {name: value for name, value in docker.environ.items() if name not in hidden}
    nowhere = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG")
    return {
        **kept,
        **dict.fromkeys(nowhere, os.devnull),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAM_CLI_TELEMETRY": "0",
    }


@contextlib.contextmanager
def _database(settings: Settings, progress: Progress) -> Iterator[Postgres | None]:
    """Have this checkout's Postgres running, unless DATABASE_URL names another database.

    `make run` may have started it already; it stays up then.
    """
    postgres = embedded_postgres(settings, progress)
    if postgres is None:
        yield None
        return
    try:
        postgres.start()
    except LocalError:
        if not postgres.is_running():
            raise
        yield postgres
        return
    try:
        yield postgres
    finally:
        postgres.stop()


async def _apply_schema(settings: Settings) -> None:
    """Apply the schema as `make run` does; raises LocalError when that fails."""
    terminal = Terminal(settings.state / "logs", sys.stderr, quiet=True)
    try:
        async with serving_api(settings, 0, terminal, shares_database=True):
            pass
    finally:
        terminal.close()


@contextlib.contextmanager
def _parameters(settings: Settings, environ: Mapping[str, str]) -> Iterator[Path]:
    """Write the template's parameters to a file of this user alone.

    Some are secrets, and everybody can read command lines.
    """
    given = {
        parameter: environ[variable_name(parameter)]
        for parameter in sorted(parameter_names(settings.root / "template.yaml"))
        if variable_name(parameter) in environ
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(given, file)  # which is YAML; SAM takes no file of another name
        file.flush()
        yield Path(file.name)
