"""`sam local` with all that it needs around it: daemon, image, settings, database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalError
from local.packages import Packages
from local.postgres import Postgres
from local.sam import processes
from local.sam.daemon import docker_daemon
from local.sam.docker import Docker
from local.sam.image import image_options
from local.sam.relay import reachable
from local.settings import Settings
from local.stack import MIGRATE, embedded_postgres, environ_with, let_the_api_in
from local.template import parameter_names, variable_name

STOP_SECONDS = 30.0
_DEBUGGER = "/tmp/lambci_debug_files/debugpy"  # noqa: S108 - where SAM mounts a debugger
_TEMPLATE = "template-for-sam-local.yaml"
_URLS = {"DATABASE_URL", "OWNER_DATABASE_URL"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sam:
    """SAM CLI, ready to run what `build` holds; `options` belong to every `sam local`.

    `postgres` is the embedded one, unless DATABASE_URL names another; `is_fresh` tells that it was
    started for this, and may lack the schema.
    """

    docker: Docker
    root: Path
    build: Path
    options: list[str]
    postgres: Postgres | None
    is_fresh: bool

    def start(
        self, *command: str, stdout: processes.Stream = None, stderr: processes.Stream = None
    ) -> subprocess.Popen[str]:
        """Start `sam local COMMAND`; SIGINT ends it, containers included."""
        program = self.root / ".venv-sam" / "bin" / "sam"
        template = ["--template", str(self.build / _TEMPLATE)]
        return processes.start(
            [program, "local", *command, *template, *self.options],
            environ=self._environ(),
            ends_by=signal.SIGINT,
            cwd=self.root,
            stdout=stdout,
            stderr=stderr,
        )

    def invoke(self, function: str, event: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Run `sam local invoke`; its standard output is the answer, the rest are logs."""
        command = ("invoke", function, "--event", str(event), *options)
        with self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate()
            except BaseException:
                processes.end(process, signal.SIGINT, STOP_SECONDS)
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def migrate(self) -> None:
        """Bring the schema up to date by the function that does it; raises LocalError."""
        result = self.invoke(MIGRATE, self.root / "events" / "migrate.json")
        if result.returncode or "applied" not in result.stdout:
            said = (result.stdout or result.stderr).strip().splitlines() or ["it said nothing"]
            raise LocalError(f"The schema cannot be applied: {said[-1]}")
        if self.postgres:
            let_the_api_in(self.postgres)

    def _environ(self) -> dict[str, str]:
        """Without telemetry, and without credentials: a function must not reach an account."""
        environ = self.docker.environ.items()
        return {name: value for name, value in environ if not name.startswith("AWS_")} | {
            "SAM_CLI_TELEMETRY": "0",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextlib.contextmanager
def sam_local(settings: Settings, build: Path, progress: Progress) -> Iterator[Sam]:
    """Give SAM with everything up around it; at the end nothing of it is left.

    Raises LocalError with one sentence when something is missing.
    """
    _check_installed(settings, build)
    _write_template(build)
    with contextlib.ExitStack() as stack:
        docker = stack.enter_context(docker_daemon(progress))
        options = image_options(docker, settings.root, progress)
        postgres, is_fresh = stack.enter_context(_database(settings, progress))
        environ = dict(environ_with(settings, postgres))
        hosts: list[str] = []
        for name in _URLS & environ.keys():
            environ[name], hosts = stack.enter_context(reachable(environ[name], docker.bridge()))
        parameters = stack.enter_context(_parameters(settings, environ))
        # SAM removes its containers itself, unless it is killed.
        folders = [path for path in build.iterdir() if path.is_dir()]
        stack.callback(docker.remove_containers, folders)
        overrides = ["--parameter-overrides", f"file://{parameters}"]
        yield Sam(docker, settings.root, build, [*overrides, *hosts, *options], postgres, is_fresh)


def debugger_options(settings: Settings, progress: Progress) -> list[str]:
    """Return SAM's options for DEBUG; the function waits until a debugger is attached.

    Raises LocalError when the debugger cannot be installed.
    """
    if not settings.debug:
        return []
    package = asyncio.run(Packages(settings.root, progress).install_debugger())
    port = str(settings.debug_port)
    # Docker publishes the port on loopback; inside of the container it has to be open to that.
    listen = f"{_DEBUGGER} --listen 0.0.0.0:{port} --wait-for-client"
    return [
        *("--debug-port", port, "--debugger-path", str(package)),
        *("--debug-args", f"-X frozen_modules=off {listen}"),
    ]


def default_event(settings: Settings, function: str) -> Path:
    """Return the event of events/ that is named after the function; raises LocalError."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", function).lower()
    path = settings.root / "events" / f"{name}.json"
    if not path.exists():
        raise LocalError(f"There is no events/{name}.json; name an event: E=events/....json")
    return path


def _check_installed(settings: Settings, build: Path) -> None:
    if not (settings.root / ".venv-sam" / "bin" / "sam").exists():
        raise LocalError("SAM CLI is not installed: run `make .venv-sam/ready`.")
    if not (build / "template.yaml").exists():
        raise LocalError("There is nothing built: run `make build`.")


def _write_template(build: Path) -> None:
    """Name the authorizer as SAM understands it, beside the template that was built.

    Of an authorizer that is called by its alias `sam local` only says that it cannot parse the
    ARN, and then serves every route without one.
    """
    built = (build / "template.yaml").read_text()
    named = re.sub(r"(FunctionArn:\s+)Ref: (\w+)\.Alias\b", r"\1Fn::GetAtt: [\2, Arn]", built)
    unfinished = build / f"{_TEMPLATE}.{os.getpid()}"
    unfinished.write_text(named)
    unfinished.rename(build / _TEMPLATE)


@contextlib.contextmanager
def _database(settings: Settings, progress: Progress) -> Iterator[tuple[Postgres | None, bool]]:
    """Give this checkout's own Postgres and whether it was started for this; None for another.

    It may be up already, for `make run`.
    """
    postgres = embedded_postgres(settings, progress)
    if postgres is None or postgres.is_running():
        yield postgres, False
    else:
        with postgres:
            yield postgres, True


@contextlib.contextmanager
def _parameters(settings: Settings, environ: Mapping[str, str]) -> Iterator[Path]:
    """Write the template's parameters to a file of this user alone.

    They are secrets in part, and command lines can be read by everybody.
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
