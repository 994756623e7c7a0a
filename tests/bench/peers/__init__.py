"""The contenders of the side-by-side benchmark, each built as it would be deployed.

`ours` is what `sam build` makes. The others are what people deploy otherwise, written as carefully
as somebody who uses that stack would, and `floor`, a bare handler: no API is faster than it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalError

OPERATIONS = (
    "list_tasks",
    "create_task",
    "get_task",
    "update_task",
    "delete_task",
    "toggle_task",
)
NAMES = ("ours", "fastapi-psycopg2", "fastapi-asyncpg", "powertools", "floor")

_SOURCES = Path(__file__).parent
_RUNTIME = "3.13"
_WHEELS = (
    *("--require-hashes", "--only-binary", ":all:", "--no-deps"),
    *("--python-version", _RUNTIME, "--python-platform", "x86_64-manylinux_2_28"),
)
# What checks leave behind in the sources.
_CACHES = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that serves the task API from Lambda, built as it would be deployed.

    `functions` has the folder of each operation. `path` is what Lambda would have on PYTHONPATH
    beside it, and `packages` all that is deployed for one function, its layer included.
    """

    name: str
    title: str
    functions: Mapping[str, Path]
    path: tuple[Path, ...]
    packages: tuple[Path, ...]
    handler: str = "app.handler"


@dataclass(frozen=True, slots=True)
class _Peer:
    """A contender other than ours: where its sources and its locked packages are.

    The folders of `sources` are copied into each function; where `one_route` is set, a function
    has only the operation's own folder beside them.
    """

    title: str
    requirements: str
    sources: Sequence[str]
    one_route: str = ""


_PEERS = {
    "fastapi-psycopg2": _Peer(
        "FastAPI + SQLModel + Mangum, psycopg2",
        "peer_fastapi_psycopg2",
        ("fastapi/*.py", "fastapi/psycopg2/*.py"),
    ),
    "fastapi-asyncpg": _Peer(
        "FastAPI + SQLModel + Mangum, asyncpg",
        "peer_fastapi_asyncpg",
        ("fastapi/*.py", "fastapi/asyncpg/*.py"),
    ),
    "powertools": _Peer(
        "Powertools with validation, psycopg 3",
        "peer_powertools",
        ("powertools/*.py",),
        "powertools",
    ),
    "floor": _Peer("a bare handler, psycopg 3", "peer_floor", ("floor/*.py",), "floor"),
}


def build(
    root: Path,
    folder: Path,
    progress: Callable[[str], None],
    names: Collection[str] = NAMES,
) -> list[Contender]:
    """Build the named contenders below `folder`, as far as something changed.

    Raises LocalError with one sentence when one cannot be built.
    """
    unknown = set(names) - set(NAMES)
    if unknown:
        raise LocalError(f"There is no contender {', '.join(sorted(unknown))}.")
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _ours(root, folder, progress) if name == "ours" else _peer(name, root, folder, progress)
        for name in NAMES
        if name in names
    ]


# --- ours ---


def _ours(root: Path, folder: Path, progress: Callable[[str], None]) -> Contender:
    target = folder / "ours"
    sources = [root / each for each in ("functions", "layers", "requirements/layer.txt")]
    settings = [root / each for each in ("template.yaml", "samconfig.toml")]
    _once(target, _digest(root, [*sources, *settings]), progress, lambda to: _sam(root, to))
    functions = {each: target / each.title().replace("_", "") for each in OPERATIONS}
    layer = target / "SharedLayer"
    return Contender(
        "ours",
        "this API, as `sam build` makes it",
        functions,
        (layer / "python",),
        (functions["list_tasks"], layer),
    )


def _sam(root: Path, target: Path) -> None:
    sam = root / ".venv-sam" / "bin" / "sam"
    if not sam.exists():
        raise LocalError("SAM CLI is not installed: run `make .venv-sam/ready`.")
    _run([sam, "build", "--build-dir", target], cwd=root, SAM_CLI_TELEMETRY="0")


# --- the others ---


def _peer(name: str, root: Path, folder: Path, progress: Callable[[str], None]) -> Contender:
    peer, target = _PEERS[name], folder / name
    lock = root / "requirements" / f"{peer.requirements}.txt"
    sources = [_SOURCES / peer.sources[0].partition("/")[0], Path(__file__), lock]
    _once(target, _digest(root, sources), progress, lambda to: _package(peer, root, lock, to))
    functions = {each: target / (each if peer.one_route else "application") for each in OPERATIONS}
    return Contender(name, peer.title, functions, (), (functions["list_tasks"],))


def _package(peer: _Peer, root: Path, lock: Path, target: Path) -> None:
    """Each function has its packages in its folder; on this disk they share them."""
    packages = target / "packages"
    uv = root / ".venv" / "bin" / "uv"
    _run([uv, "pip", "install", "--quiet", *_WHEELS, "--target", packages, "--requirement", lock])
    shutil.rmtree(packages / "bin", ignore_errors=True)
    (packages / ".lock").unlink(missing_ok=True)
    python = _find_python(root)
    _compile(python, packages)
    for function in OPERATIONS if peer.one_route else ("application",):
        shutil.copytree(packages, target / function, copy_function=os.link)
        for pattern in (*peer.sources, *_own(peer, function)):
            for source in sorted(_SOURCES.glob(pattern)):
                shutil.copy(source, target / function)
        _compile(python, target / function, recursive=False)
    shutil.rmtree(packages)


def _own(peer: _Peer, function: str) -> tuple[str, ...]:
    return (f"{peer.one_route}/{function}/*.py",) if peer.one_route else ()


def _find_python(root: Path) -> Path:
    return Path(_run([root / "layers" / "find-python", _RUNTIME]).strip())


def _compile(python: Path, folder: Path, *, recursive: bool = True) -> None:
    """Byte code that is valid whatever the files' times, as in the layer."""
    how_deep = [] if recursive else ["-l"]
    mode = ["--invalidation-mode", "unchecked-hash"]
    _run([python, "-m", "compileall", "-q", *how_deep, *mode, folder])


# --- both ---


def _once(
    target: Path, digest: str, progress: Callable[[str], None], make: Callable[[Path], None]
) -> None:
    """Make the folder unless it was made from the same; nothing half-made is ever found there."""
    stamp = target.with_name(f"{target.name}.built-from")
    if stamp.is_file() and stamp.read_text() == digest and target.is_dir():
        return
    progress(f"Building {target.name} ...")
    stamp.unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    make(target)
    stamp.write_text(digest)


def _digest(root: Path, places: Sequence[Path]) -> str:
    """A digest of all files there, by name and content."""
    digest = hashlib.sha256()
    for place in places:
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            name = file.relative_to(root)
            if file.is_file() and not _CACHES & set(name.parts):
                digest.update(f"{name}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _run(command: Sequence[str | Path], cwd: Path | None = None, **variables: str) -> str:
    """The command's output. Raises LocalError with the last line that it said."""
    result = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        said = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        raise LocalError(f"{Path(command[0]).name} failed: {said[-1] if said else 'silently'}")
    return result.stdout
