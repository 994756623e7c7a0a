"""The contenders, each built as it would be deployed, and how their processes start.

`ours` is what `sam build` makes. The rivals are what people deploy otherwise, written as carefully
as somebody who uses that stack would; `floor` is a bare handler, and no API is faster than it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench.contract import ROUTES, BenchError
from bench.environment import Command

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".bench"
"""What was built, kept from one run to the next."""
OURS, FLOOR = "ours", "floor"

_SOURCES = Path(__file__).parent / "rivals"
_PYTHON = "3.13"
_WHEELS = (
    *("--require-hashes", "--only-binary", ":all:", "--no-deps"),
    *("--python-version", _PYTHON, "--python-platform", "x86_64-manylinux_2_28"),
)
# What Lambda sets, the same for all; the credentials reach no account.
_PLATFORM = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_SESSION_TOKEN": "bench",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_REGION": "eu-central-1",
    "AWS_EXECUTION_ENV": f"AWS_Lambda_python{_PYTHON}",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_LAMBDA_LOG_FORMAT": "JSON",
    "LANG": "en_US.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "POWERTOOLS_SERVICE_NAME": "bench",
    # Lambda's file system is read-only: what was not compiled before deployment never is.
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUTF8": "1",
    "TZ": ":UTC",
}


class Contender(NamedTuple):
    """A stack that serves the contract from Lambda, built as it would be deployed.

    `functions` has the folder of each operation, `path` what Lambda has on PYTHONPATH beside it,
    and `variables` what its configuration sets.
    """

    name: str
    title: str
    functions: Mapping[str, Path]
    path: tuple[Path, ...]
    variables: Mapping[str, str]

    def command(self, operation: str, database_url: str) -> Command:
        """Return how Lambda would start the process of one operation."""
        folder = self.functions[operation]
        handler = f"app.{operation}" if self.name == FLOOR else "app.handler"
        variables = {
            **_PLATFORM,
            **self.variables,
            "DATABASE_URL": database_url,
            "LAMBDA_TASK_ROOT": str(folder),
            "PYTHONPATH": os.pathsep.join(map(str, (folder, *self.path, runtime_client()))),
            "_HANDLER": handler,
        }
        if "LD_LIBRARY_PATH" in os.environ:  # some Pythons do not start without it
            variables["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        arguments = (lambda_python(), "-S", "-m", "awslambdaric", handler)
        return Command(f"{self.name}'s {operation}", arguments, folder, variables)


# By name: a title, and the sources that are copied beside the packages of requirements/rival_*.
_RIVALS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fastapi-psycopg2": (
        "FastAPI + SQLModel + Mangum, psycopg2",
        ("models.py", "fastapi/*.py"),
    ),
    "powertools": ("Powertools with validation, psycopg 3", ("models.py", "powertools/*.py")),
    FLOOR: ("a bare handler, psycopg 3", ("floor/*.py",)),
}
NAMES = (OURS, *_RIVALS)


def build(names: Collection[str] = NAMES) -> list[Contender]:
    """Build the named contenders, as far as something changed. Raise BenchError."""
    unknown = set(names) - set(NAMES)
    if unknown:
        raise BenchError(f"There is no contender {', '.join(sorted(unknown))}.")
    return [_ours() if name == OURS else _rival(name) for name in NAMES if name in names]


def _ours() -> Contender:
    names = ("functions", "layers", "requirements/layer.txt", "template.yaml", "samconfig.toml")
    folder = _once(OURS, [ROOT / each for each in names], _sam_build)
    functions = {each: folder / each.title().replace("_", "") for each in ROUTES}
    document: Any = yaml.safe_load((folder / "template.yaml").read_text())
    everywhere = document["Globals"]["Function"]
    own = document["Resources"]["ListTasks"]["Properties"]
    variables = {
        name: value
        for properties in (everywhere, own)
        for name, value in properties["Environment"]["Variables"].items()
        if isinstance(value, str)  # and no parameter
    }
    title = "this API, as `sam build` makes it"
    return Contender(OURS, title, functions, (folder / "SharedLayer" / "python",), variables)


def _sam_build(folder: Path) -> None:
    sam = ROOT / ".venv-sam" / "bin" / "sam"
    if not sam.exists():
        raise BenchError("SAM CLI is not installed: run `make .venv-sam/ready`.")
    run([sam, "build", "--build-dir", folder], SAM_CLI_TELEMETRY="0")


def _rival(name: str) -> Contender:
    title, patterns = _RIVALS[name]
    lock = ROOT / "requirements" / f"rival_{name.replace('-', '_')}.txt"
    sources = [file for each in patterns for file in sorted(_SOURCES.glob(each))]

    def package(folder: Path) -> None:
        """Install the packages and copy the sources into one folder, all compiled."""
        _install(folder, lock, *_WHEELS)
        shutil.rmtree(folder / "bin", ignore_errors=True)
        for source in sources:
            shutil.copy(source, folder)
        # The byte code is valid whatever the files' times, as in the layer.
        mode = ("--invalidation-mode", "unchecked-hash")
        run([lambda_python(), "-m", "compileall", "-q", *mode, folder])

    folder = _once(name, [lock, Path(__file__), *sources], package)
    return Contender(name, title, dict.fromkeys(ROUTES, folder), (), {})


@cache
def lambda_python() -> str:
    """Find a Python of Lambda's version. Raise BenchError with how to get one."""
    return run([ROOT / "layers" / "find-python", _PYTHON]).strip()


@cache
def runtime_client() -> Path:
    """Install awslambdaric for Lambda's Python, and return its folder."""
    lock = ROOT / "requirements" / "runtime.txt"
    how = ("--require-hashes", "--python", lambda_python(), "--compile-bytecode")
    return _once("runtime-client", [lock], lambda folder: _install(folder, lock, *how))


def _install(folder: Path, lock: Path, *how: str) -> None:
    uv = ROOT / ".venv" / "bin" / "uv"
    run([uv, "pip", "install", "--quiet", *how, "--target", folder, "--requirement", lock])


def _once(name: str, sources: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """Make a folder unless it was made from the same sources; a half-made one is never used."""
    folder, stamp = WORK / name, WORK / f"{name}.built-from"
    digest = _digest(sources)
    if not (stamp.is_file() and stamp.read_text() == digest and folder.is_dir()):
        print(f"bench: building {name}", file=sys.stderr)
        WORK.mkdir(exist_ok=True)
        stamp.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        make(folder)
        stamp.write_text(digest)
    return folder


def _digest(places: Sequence[Path]) -> str:
    """Return a digest of the names and contents of all files there."""
    digest = hashlib.sha256()
    for place in places:
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def run(command: Sequence[str | Path], **variables: str) -> str:
    """Run a command in the checkout and return its output. Raise BenchError with its last line."""
    result = subprocess.run(
        [str(each) for each in command],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        raise BenchError(f"{Path(command[0]).name} failed: {lines[-1] if lines else 'silently'}")
    return result.stdout
