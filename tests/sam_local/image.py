"""The image that functions run in: AWS's own, or a stand-in that this file builds.

The stand-in is Debian with its Python and AWS's runtime interface client from the package index. It
has a name of its own, so nobody takes it for AWS's, and it is used only if Docker can neither find
nor pull AWS's image. Its root file system is kept, so a checkout builds it once.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from local.errors import LocalError
from local.sam import docker
from local.sam.commands import IMAGE

_NAME = "task-api/stand-in-for-aws-lambda-python"
_SUITE = "trixie"  # the Debian version that has the runtime's Python
_PACKAGES = ("python3.13-minimal", "libpython3.13-stdlib", "ca-certificates")
_UNUSED = ("var/cache", "var/lib/apt", "usr/share/doc", "usr/share/locale", "usr/share/man")
_FILES = Path(__file__).with_name("stand_in")
_CONFIGURATION = (
    "LABEL description='Stands in for AWS Lambda offline: Debian, and AWS runtime client'",
    "ENV LANG=C.UTF-8 TZ=:UTC LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime",
    "ENV PATH=/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
    "WORKDIR /var/task",
)

Progress = Callable[[str], None]


def image_options(root: Path, progress: Progress) -> list[str]:
    """Return SAM's options for the stand-in, or none if Docker has or can pull AWS's image.

    Raise LocalError if there is neither.
    """
    if docker.succeeds("image", "inspect", IMAGE) or docker.succeeds("pull", "--quiet", IMAGE):
        return []
    stand_in = _stand_in(root, progress)
    progress(f"AWS's image cannot be pulled; {stand_in} stands in (Debian's Python, no AWS code).")
    return ["--skip-pull-image", "--invoke-image", stand_in]


def _stand_in(root: Path, progress: Progress) -> str:
    requirements = root / "requirements" / "runtime.txt"
    files = (Path(__file__), requirements, *sorted(_FILES.iterdir()))
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]
    # SAM derives its own image from this name alone, so other contents need another name.
    name = f"{_NAME}-{digest}:3.13"
    if docker.succeeds("image", "inspect", name):
        return name
    archive = root / ".local" / "sam" / f"stand-in-{digest}.tar"
    if not archive.exists():
        progress("Building what stands in for AWS's image (once, about a minute) ...")
        _build(archive, root, requirements)
    docker.ask("import", *(f"--change={line}" for line in _CONFIGURATION), str(archive), name)
    return name


def _build(archive: Path, root: Path, requirements: Path) -> None:
    """Build the root file system in a temporary folder, and pack it under its final name."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise LocalError(
            "AWS's image cannot be pulled; only root on Linux can build its stand-in, with"
            " debootstrap (on Debian: apt-get install debootstrap)."
        )
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sam-image-") as folder:
        system = Path(folder)
        system.chmod(0o755)  # it becomes the container's /
        packages = ",".join(_PACKAGES)
        _run("debootstrap", "--variant=minbase", f"--include={packages}", _SUITE, system, _mirror())
        for unused in _UNUSED:
            shutil.rmtree(system / unused, ignore_errors=True)
        _add_runtime(system, root, requirements)
        unfinished = archive.with_suffix(f".{os.getpid()}")
        _run("tar", "--create", "--numeric-owner", "--file", unfinished, "--directory", system, ".")
        unfinished.rename(archive)


def _mirror() -> str:
    """Return the mirror of this machine's own packages, or DEBIAN_MIRROR."""
    if given := os.environ.get("DEBIAN_MIRROR"):
        return given
    output = _run(
        "apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"
    )
    if found := re.search(r"^Debian (\S+)$", output, re.MULTILINE):
        return found[1]
    raise LocalError("apt knows no Debian mirror: run apt-get update, or set DEBIAN_MIRROR.")


def _add_runtime(system: Path, root: Path, requirements: Path) -> None:
    """Put Python and AWS's runtime client where AWS's image has them."""
    for folder in ("var/lang/bin", "var/runtime", "var/task", "opt"):
        (system / folder).mkdir(parents=True, exist_ok=True)
    (system / "var/lang/bin/python3.13").symlink_to("/usr/bin/python3.13")
    runtime = system / "var/runtime"
    _run(
        *(root / "requirements/uv", "pip", "install", "--quiet", "--require-hashes"),
        *("--only-binary", ":all:", "--no-deps", "--python-version", "3.13"),
        *("--python-platform", "x86_64-manylinux_2_28", "--target", runtime),
        *("--requirement", requirements),
    )
    for file in ("bootstrap", "bootstrap.py"):
        shutil.copy(_FILES / file, runtime / file)
    # AWS's image has byte code, too. Without it every container would compile the library again.
    compiling = ("python3.13", "-m", "compileall", "-q", "/usr/lib/python3.13", "/var/runtime")
    _run("chroot", system, *compiling)


def _run(*command: str | Path) -> str:
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines() or ["it said nothing"]
        raise LocalError(f"{Path(command[0]).name} failed: {said[-1]}")
    return result.stdout
