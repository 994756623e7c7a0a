"""How a contender's process is started, and what it is asked: the same for all of them."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from local.environment import platform_variables
from local.errors import LocalError
from local.template import Function, read_template
from tests.bench.peers import Contender
from tests.bench.side_by_side.environment import Command
from tests.running import ROOT

WORK = ROOT / ".bench"
"""Where contenders and the runtime client are kept from one run to the next."""
CONTENDERS = WORK / "contenders"
_RUNTIME = "3.13"


@dataclass(frozen=True, slots=True)
class Runtime:
    """Lambda's Python, the folder with awslambdaric, and the functions of template.yaml."""

    python: str
    client: Path
    root: Path

    def command(self, contender: Contender, operation: str, database_url: str) -> Command:
        """The process of one function of one contender, as Lambda would start it."""
        folder = contender.functions[operation]
        function = dataclasses.replace(
            self._function(operation, database_url), code=folder, handler=contender.handler
        )
        path = [folder, *contender.path, self.client]
        variables = {
            **platform_variables(function),
            **function.environment,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            # Lambda's file system is read-only: what was not compiled before never will be.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        arguments = (self.python, "-S", "-m", "awslambdaric", function.handler)
        return Command(f"{contender.name}'s {operation}", arguments, folder, variables)

    def _function(self, operation: str, database_url: str) -> Function:
        key = (self.root, database_url)
        if key not in _templates:
            environ = {"DATABASE_URL": database_url}
            _templates[key] = read_template(self.root / "template.yaml", environ).functions
        return _templates[key][operation.title().replace("_", "")]


_templates: dict[tuple[Path, str], Mapping[str, Function]] = {}


def install_runtime(root: Path, folder: Path, progress: Callable[[str], None]) -> Runtime:
    """Find Lambda's Python and install its runtime client, if it is not there yet.

    Raises LocalError with one sentence.
    """
    found = subprocess.run(
        [root / "layers" / "find-python", _RUNTIME], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise LocalError(found.stderr.strip())
    python = found.stdout.strip()
    requirements = root / "requirements" / "runtime.txt"
    kind = f"{python} {platform.machine()}".encode()
    digest = sha256(requirements.read_bytes() + kind).hexdigest()[:12]
    client = folder / f"runtime-{digest}"
    if not client.is_dir():
        progress("installing awslambdaric")
        _install(root, python, requirements, client)
    return Runtime(python, client, root)


def _install(root: Path, python: str, requirements: Path, client: Path) -> None:
    client.parent.mkdir(parents=True, exist_ok=True)
    unfinished = client.with_name(f".{client.name}-{os.getpid()}")
    uv = [str(root / ".venv" / "bin" / "uv"), "pip", "install", "--quiet", "--require-hashes"]
    where = ["--python", python, "--compile-bytecode", "--target", str(unfinished)]
    done = subprocess.run(
        [*uv, *where, "-r", str(requirements)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise LocalError(f"awslambdaric cannot be installed: {' '.join(last).strip()}")
    unfinished.rename(client)


class Requests:
    """The events of one user, as the gateway sends them, and what is expected of the answers."""

    def __init__(self, root: Path, user: str, task: str = "") -> None:
        self._events = root / "events"
        self._user = user
        self._task = task

    def event(self, operation: str, task: str = "") -> bytes:
        """The event of a good request; `task` is the one to work on."""
        event = json.loads((self._events / f"{operation}.json").read_text())
        task = task or self._task
        old = event["pathParameters"]
        path = event["rawPath"].replace(f"/api/{old['user_id']}/", f"/api/{self._user}/")
        if "task_id" in old:
            path = path.replace(old["task_id"], task)
            old["task_id"] = task
        old["user_id"] = self._user
        event["rawPath"] = event["requestContext"]["http"]["path"] = path
        event["requestContext"]["authorizer"]["lambda"]["sub"] = self._user
        event.setdefault("headers", {}).pop("idempotency-key", None)
        return json.dumps(event).encode()


def check(operation: str, answer: bytes, *, tasks: int | None = None) -> None:
    """Raise LocalError when a request was not served; a list has to have so many `tasks`."""
    document: Any = json.loads(answer)
    wanted = 201 if operation == "create_task" else 200
    if document.get("statusCode") != wanted:
        raise LocalError(f"{operation} was answered {str(document)[:300]} instead of {wanted}.")
    found = len(json.loads(document["body"])) if operation == "list_tasks" else None
    if tasks is not None and found != tasks:
        raise LocalError(f"{operation} answered {found} tasks instead of {tasks}.")
