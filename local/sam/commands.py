"""`sam local` with what it needs around it: Docker, the image, settings and a database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from local.errors import LocalError
from local.packages import Packages
from local.postgres import Postgres
from local.sam import processes
from local.sam.docker import Docker
from local.sam.relay import connector, reachable
from local.settings import Settings
from local.stack import MIGRATE, embedded_postgres, environ_with, let_the_api_in
from local.template import parameter_names, read_template, variable_name

IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"
_DEBUGGER = "/tmp/lambci_debug_files/debugpy"  # noqa: S108 - where SAM mounts a debugger
_URLS = {"DATABASE_URL", "OWNER_DATABASE_URL"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sam:
    """SAM CLI, ready to run what `build` holds; `options` belong to every `sam local`.

    `environ` is SAM's own, never the functions'. `database_url` is where the schema belongs, if
    that is on this machine. `postgres` is the embedded one, unless DATABASE_URL names another;
    `is_fresh` tells that it was started for this, and may lack the schema.
    """

    docker: Docker
    root: Path
    build: Path
    environ: Mapping[str, str]
    options: list[str]
    database_url: str | None
    postgres: Postgres | None
    is_fresh: bool

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

    def migrate(self) -> None:
        """Bring the schema up to date by the function that does it, and see that it is there.

        Raises LocalError when the function fails, or when it worked on another database.
        """
        version = _migrated(self.invoke(MIGRATE, self.root / "events" / "migrate.json"))
        if self.database_url and _schema_version(self.database_url) < version:
            raise LocalError("The schema was applied, but not to the database of DATABASE_URL.")
        if self.postgres:
            let_the_api_in(self.postgres)


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
        postgres, is_fresh = stack.enter_context(_database(settings, progress))
        environ = dict(environ_with(settings, postgres))
        owner_url = environ.get("OWNER_DATABASE_URL", environ["DATABASE_URL"])
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
            database_url=owner_url if connector(owner_url) else None,
            postgres=postgres,
            is_fresh=is_fresh,
        )


def check(settings: Settings, docker: Docker) -> None:
    """Raise LocalError when SAM CLI or Docker is missing."""
    if not (settings.root / ".venv-sam" / "bin" / "sam").exists():
        raise LocalError("SAM CLI is not installed: run `make .venv-sam/ready`.")
    docker.check()


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


def _migrated(result: subprocess.CompletedProcess[str]) -> int:
    """Return the version that Migrate reached; raises LocalError with its error, or SAM's."""
    answer: Any = None
    with contextlib.suppress(ValueError):
        answer = json.loads(result.stdout)
    if isinstance(answer, dict) and isinstance(answer.get("version"), int):
        return int(answer["version"])
    said = (result.stdout or result.stderr).strip().splitlines() or ["it said nothing"]
    reason = answer.get("errorMessage") if isinstance(answer, dict) else None
    raise LocalError(f"The schema cannot be applied: {reason or said[-1]}")


def _schema_version(url: str) -> int:
    """Return how far the schema of a database is; 0 without any. Raises LocalError."""
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()
    except psycopg.errors.UndefinedTable:
        return 0
    except psycopg.Error as error:
        raise LocalError(f"The database cannot be asked for its schema: {error}") from error
    return int(row[0] or 0) if row else 0


@contextlib.contextmanager
def _database(settings: Settings, progress: Progress) -> Iterator[tuple[Postgres | None, bool]]:
    """Yield this checkout's Postgres and whether it was started for this; None for another.

    `make run` may have started it already.
    """
    postgres = embedded_postgres(settings, progress)
    if postgres is None:
        yield None, False
        return
    try:
        postgres.start()
    except LocalError:
        if not postgres.is_running():
            raise
        yield postgres, False
        return
    try:
        yield postgres, True
    finally:
        postgres.stop()


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
