"""docs/issuers.md: Better Auth with its JWKS, here a real Better Auth from npm."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.neon.conftest import need
from tests.running import ROOT, free_port, running

pytestmark = pytest.mark.campaign

SOURCES = ROOT / "tests" / "identity" / "better_auth"
PAGE = (ROOT / "docs" / "issuers.md").read_text()


@pytest.fixture
def better_auth(tmp_path: Path) -> Iterator[str]:
    """Install and run Better Auth, and return its base URL."""
    need(shutil.which("npm"), "npm is missing: install Node.js 20 or newer")
    for name in ("package.json", "package-lock.json", "server.mjs"):
        shutil.copy(SOURCES / name, tmp_path)
    install = ["npm", "ci", "--silent", "--no-audit", "--no-fund"]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True)
    port = free_port()
    command = ["node", "server.mjs", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            yield f"http://localhost:{port}"
        finally:
            server.terminate()


def test_who_signed_up_there_has_tasks_here(
    better_auth: str, new_database: Callable[[], str]
) -> None:
    (shown,) = re.findall(r"^JWT_ISSUERS='(.*http://localhost:3000.*)'$", PAGE, re.MULTILINE)
    issuers = shown.replace("http://localhost:3000", better_auth)
    with (
        running({"DATABASE_URL": new_database(), "JWT_ISSUERS": issuers}) as api,
        httpx.Client(headers={"Origin": better_auth}) as browser,
    ):
        account = {"email": "alice@example.com", "password": "a long password", "name": "Alice"}
        user = browser.post(f"{better_auth}/api/auth/sign-up/email", json=account).json()["user"]
        token = browser.get(f"{better_auth}/api/auth/token").json()["token"]
        tasks, headers = f"{api.url}/api/{user['id']}/tasks", {"Authorization": f"Bearer {token}"}
        assert httpx.post(tasks, json={"title": "Tea"}, headers=headers).status_code == 201
        assert [each["title"] for each in httpx.get(tasks, headers=headers).json()] == ["Tea"]
        changed = {"Authorization": f"Bearer {token[:-4]}AAAA"}
        assert httpx.get(tasks, headers=changed).status_code == 401
