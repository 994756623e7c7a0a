"""The locked dependencies of functions, each set in a folder of its own under .local/packages.

A handler can import its deployed packages and nothing else, not even the gateway's virtual
environment. So a dependency that was never locked fails here before it fails in AWS.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalError
from local.template import Function

_UV = Path(__file__).parents[1] / "requirements" / "uv"


@dataclass(frozen=True, slots=True)
class Packages:
    """The folders of a function's imports; missing packages are installed.

    The layer's dependencies are those of `requirements/layer.txt`, a function's own those of the
    file that is named like its folder, and Lambda's own runtime is `requirements/runtime.txt`.

    Every installation checks hashes. Raise LocalError with the installer's last line when one
    fails, for instance without network; a half-installed folder is never used.
    """

    root: Path
    progress: Callable[[str], None]

    async def import_path(self, function: Function) -> list[Path]:
        """Return the folders to import from, in Lambda's order: function, layers, runtime."""
        own = await self._installed(function.code.name)
        layer = await self._installed("layer") if function.layers else []
        runtime = await self._installed("runtime")
        return [function.code, *own, *function.layers, *layer, *runtime]

    async def _installed(self, name: str) -> list[Path]:
        """Return the folder of `requirements/<name>.txt`; nothing when there is no such file."""
        requirements = self.root / "requirements" / f"{name}.txt"
        if not requirements.exists():
            return []
        # Wheels and byte code fit one Python version on one kind of machine.
        kind = f"{sys.implementation.cache_tag}-{sys.platform}-{platform.machine()}"
        digest = hashlib.sha256(requirements.read_bytes() + kind.encode()).hexdigest()[:12]
        folder = self.root / ".local" / "packages" / f"{name}-{digest}"
        if not folder.is_dir():
            self.progress(f"Installing requirements/{name}.txt ...")
            await _install(requirements, folder)
        return [folder]


async def _install(requirements: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        await _run_installer(requirements, unfinished)
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was faster, with the same content
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


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
        reason = _reason(output.decode(errors="replace"))
        hint = "" if "os error 28" in reason else " (is the package index reachable?)"
        raise LocalError(f"requirements/{requirements.name} cannot be installed{hint}: {reason}")


def _reason(output: str) -> str:
    """Return the installer's error in one line: the innermost cause comes last, then advice."""
    lines = [re.sub(r"^\W+", "", line) for line in output.splitlines()]
    causes = [line for line in lines if line and not line.startswith("hint:")]
    return causes[-1] if causes else "the installer said nothing."
