"""The specification for generators: the clients they make run a session, with types checked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.client import Client
from tests.neon.conftest import need
from tests.running import ROOT, running

pytestmark = pytest.mark.campaign

SECRET = "a-secret-that-only-these-tests-know-0123456789"
SPECIFICATION = ROOT / "functions" / "docs" / "openapi.json"
SESSIONS = ROOT / "tests" / "clients"
FOLDER = ROOT / ".clients"


@pytest.fixture
def client(new_database: Callable[[], str]) -> Iterator[Client]:
    with running({"DATABASE_URL": new_database(), "JWT_SECRET": SECRET}) as api:
        yield Client(api.url, SECRET)


def _run(folder: Path, *command: str | Path, **variables: str) -> None:
    result = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_python_client_is_generated_and_runs_a_session(client: Client) -> None:
    subprocess.run(["make", "--silent", ".venv-clients/ready"], cwd=ROOT, check=True)
    tools, package = ROOT / ".venv-clients" / "bin", FOLDER / "python"
    FOLDER.mkdir(exist_ok=True)
    made = ("--path", SPECIFICATION, "--output-path", package, "--overwrite")
    _run(FOLDER, tools / "openapi-python-client", "generate", *made)
    session = (client.base_url, client.user, client.token())
    _run(FOLDER, tools / "python", SESSIONS / "session.py", *session, PYTHONPATH=str(package))


def test_a_typescript_client_is_generated_and_runs_a_session(client: Client) -> None:
    need(shutil.which("npm"), "npm is missing: install Node.js 20 or newer")
    folder = FOLDER / "typescript"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "session.ts"):
        shutil.copy(SESSIONS / name, folder)
    _run(folder, "npm", "ci", "--silent", "--no-audit", "--no-fund")
    tools = folder / "node_modules" / ".bin"
    _run(folder, tools / "openapi-typescript", SPECIFICATION, "--output", "api.d.ts")
    options = ("--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck")
    _run(folder, tools / "tsc", *options, "session.ts")
    _run(folder, "node", "session.js", client.base_url, client.user, client.token())
