"""What the make targets need is installed, fetched, or asked for in one sentence."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.running import ROOT

SENTENCE = "Byte code for Lambda needs Python 3.13: install it, or name one in RUNTIME_PYTHON"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a checkout in a path with a blank; its uv neither finds nor fetches anything."""
    root = tmp_path / "a checkout"
    (root / ".venv/bin").mkdir(parents=True)
    for name in ("layers/find-python", "requirements/uv"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    _script(root / ".venv/bin/uv", "exit 1")
    return root


def run(root: Path, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command with nothing of this machine in its environment."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(root), **variables}
    return subprocess.run(
        [root / command[0], *command[1:]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.skipif(bool(shutil.which("python3.13", path="/usr/bin:/bin")), reason="3.13 is here")
def test_without_a_python_for_byte_code_one_sentence_asks_for_it(bare: Path) -> None:
    done = run(bare, "layers/find-python", "3.13", "fetch")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(SENTENCE)
    assert "command not found" not in done.stderr


def test_uv_gets_the_certificate_the_proxy_and_the_index_of_pip(bare: Path) -> None:
    show = 'echo "$SSL_CERT_FILE $HTTPS_PROXY $HTTP_PROXY $UV_DEFAULT_INDEX $*"'
    _script(bare / ".venv/bin/uv", show)
    assert run(bare, "requirements/uv", "a b").stdout == "    a b\n"
    (bare / ".venv/pip.config").write_text(
        "global.cert='/company.pem'\nglobal.proxy='http://proxy.test:3128'\n"
        "install.index-url='https://index.test/simple'\n"
    )
    assert run(bare, "requirements/uv").stdout == (
        "/company.pem http://proxy.test:3128 http://proxy.test:3128 https://index.test/simple \n"
    )
    variables = {"PIP_CERT": "/mine.pem", "HTTPS_PROXY": "http://other.test"}
    assert run(bare, "requirements/uv", **variables).stdout == (
        "/mine.pem http://other.test http://proxy.test:3128 https://index.test/simple \n"
    )
