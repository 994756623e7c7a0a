"""What the make targets need is installed, fetched, or asked for in one sentence."""

import os
import shutil
import stat
import subprocess
import sys
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
@pytest.mark.parametrize("arguments", [[], ["fetch"]])
def test_without_a_python_for_byte_code_one_sentence_asks_for_it(
    bare: Path, arguments: list[str]
) -> None:
    done = run(bare, "layers/find-python", "3.13", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(SENTENCE)
    assert "command not found" not in done.stderr


def test_a_fetched_python_is_kept_in_the_checkout(bare: Path) -> None:
    fetched = bare / ".local/python/cpython-3.13.9-linux/bin/python"
    version = "case $1 in -c) echo 3.13;; esac"
    uv = f"""
    [ "$1 $2" = "python install" ] || exit 1
    mkdir -p '{fetched.parent}'
    printf '#!/bin/sh\\n{version}\\n' >'{fetched}'
    chmod +x '{fetched}'
    """
    _script(bare / ".venv/bin/uv", uv)
    fetch = run(bare, "layers/find-python", "3.13", "fetch", RUNTIME_PYTHON="/nowhere")
    assert Path(fetch.stdout.strip()) == fetched or shutil.which("python3.13")
    again = run(bare, "layers/find-python", "3.13")
    assert again.stdout == fetch.stdout


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


def test_what_was_skipped_is_listed_with_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "test_skips.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.parametrize('n', range(3))\n"
        "def test_one(n): pytest.skip('needs a dishwasher')\n\n"
        "def test_other(): pytest.skip('needs a cat')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if key != "REQUIRE_ALL"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    table = done.stdout.partition("not run on this machine")[2].splitlines()[1:3]
    assert table == ["   3 tests  needs a dishwasher", "   1 test  needs a cat"]
    strict = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, "REQUIRE_ALL": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert strict.returncode == 1
    assert "4 failed" in strict.stdout


def test_without_a_new_pgbouncer_one_sentence_asks_for_it(bare: Path) -> None:
    shutil.copytree(ROOT / ".ci", bare / ".ci")
    for tool in ("pgbouncer", "apt-get"):
        _script(bare / f"bin/{tool}", 'echo "PgBouncer 1.18.0"')
    done = run(bare, ".ci/pgbouncer", PATH=f"{bare}/bin:/usr/bin:/bin")
    if Path("/usr/sbin/pgbouncer").exists():
        pytest.skip("needs a machine without PgBouncer in /usr/sbin")
    assert (done.returncode, done.stdout) == (1, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("PgBouncer 1.21 or newer is needed: install it, or name one in")
