"""The locked dependencies of functions, each set in a folder of its own under .local/packages.

A handler sees what is deployed with it and nothing else: not the virtual environment that the
gateway runs in, so a dependency that was never locked fails here before it fails in AWS.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalError
from local.template import Function

_UV = Path(__file__).parents[1] / "requirements" / "uv"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Debugged:
    """A function to start under a debugger, and the port on which that waits to be attached."""

    function: str
    port: int


class Packages:
    """Where a function's imports come from, and what has to be installed for it.

    From the sources, the layer's dependencies are those of `requirements/layer.txt`, a function's
    own those of the file that is named like its folder. With `built=True` both lie beside the
    code, as `sam build` put them there; Lambda's own runtime is `requirements/runtime.txt`.
    """

    def __init__(
        self,
        root: Path,
        progress: Progress,
        *,
        built: bool = False,
        debugged: Debugged | None = None,
    ) -> None:
        self._requirements = root / "requirements"
        self._installed = root / ".local" / "packages"
        self._progress = progress
        self._built = built
        self._debugged = debugged

    def import_path(self, function: Function) -> list[Path]:
        """Return the folders to import from, in Lambda's order: function, layers, runtime."""
        if self._built:
            layers = [layer / "python" for layer in function.layers]
            return [function.code, *layers, *self._folders({"runtime"})]
        own = self._folders({function.code.name})
        layers = [*function.layers, *self._folders({"layer"} if function.layers else set())]
        return [function.code, *own, *layers, *self._folders({"runtime"})]

    def watched(self, function: Function) -> list[Path]:
        """Return the folders whose changes take effect on the next request.

        Of a build there are none: `sam build` rewrites the template, and that is noticed.
        """
        return [] if self._built else [function.code, *function.layers]

    def debugger(self, function: Function) -> list[str]:
        """Return what stands before the program of a function under a debugger; [] of others."""
        debugged = self._debugged
        if debugged is None or debugged.function != function.name:
            return []
        (package,) = self._folders({"debug"})
        listen = ["--listen", f"127.0.0.1:{debugged.port}"]
        return ["-X", "frozen_modules=off", str(package / "debugpy"), *listen]

    async def install(self, functions: Iterable[Function]) -> None:
        """Install what is missing, with hashes checked and byte code compiled.

        Raises LocalError with the installer's last line when that fails, for instance without
        network; nothing half-installed is ever used.
        """
        functions = list(functions)
        if self._debugged and self._debugged.function not in {each.name for each in functions}:
            raise LocalError(f"template.yaml has no function {self._debugged.function} to debug.")
        names = {"runtime", "debug"} if self._debugged else {"runtime"}
        if not self._built:
            for function in functions:
                names |= {function.code.name, *(["layer"] if function.layers else [])}
        for name in sorted(names):
            await self._install_missing(name)

    async def install_debugger(self) -> Path:
        """Install the debugger alone, and return the folder that it is in; raises LocalError."""
        await self._install_missing("debug")
        (folder,) = self._folders({"debug"})
        return folder

    async def _install_missing(self, name: str) -> None:
        folder = self._folder(name)
        if folder is not None and not folder.is_dir():
            self._progress(f"Installing requirements/{name}.txt ...")
            await self._install(name, folder)

    def _folders(self, names: set[str]) -> list[Path]:
        return [folder for name in names if (folder := self._folder(name))]

    def _folder(self, name: str) -> Path | None:
        """Return where `requirements/<name>.txt` is installed; None when there is no such file."""
        try:
            content = (self._requirements / f"{name}.txt").read_bytes()
        except FileNotFoundError:
            return None
        # Wheels and byte code fit one Python version on one kind of machine.
        kind = f"{sys.implementation.cache_tag}-{sys.platform}-{platform.machine()}"
        digest = hashlib.sha256(content + kind.encode()).hexdigest()[:12]
        return self._installed / f"{name}-{digest}"

    async def _install(self, name: str, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f".{folder.name}-{os.getpid()}")
        try:
            await _run_installer(self._requirements / f"{name}.txt", unfinished)
            _publish(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was faster, with the same content
            raise


async def _run_installer(requirements: Path, target: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(_UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", sys.executable),
        *("--target", target, "--require-hashes", "-r", requirements),
        env={**os.environ, "TOOLS": sys.prefix},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise LocalError(
            f"requirements/{requirements.name} cannot be installed"
            f" (is the package index reachable?): {_reason(output.decode(errors='replace'))}"
        )


def _reason(output: str) -> str:
    """Return the installer's error in one line: the innermost cause comes last, then advice."""
    lines = [re.sub(r"^\W+", "", line) for line in output.splitlines()]
    causes = [line for line in lines if line and not line.startswith("hint:")]
    return causes[-1] if causes else "the installer said nothing."
