"""A fresh checkout in a folder with a blank in its name: `make run` with the embedded Postgres."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import psycopg
import pytest

from local.postgres import Postgres
from tests.contract.client import Client
from tests.running import ROOT, Running, running, start, until_ready

SECRET = "a-secret-that-only-these-tests-know-0123456789"
SETTINGS = {"JWT_SECRET": SECRET}
# The roles as which the API is logged in.
_ROLES = """
SELECT DISTINCT rolname, rolsuper OR rolbypassrls OR rolcreaterole,
       EXISTS (SELECT FROM pg_class WHERE relowner = usesysid)
FROM pg_stat_activity JOIN pg_roles ON rolname = usename
WHERE datname = 'tasks' AND pid <> pg_backend_pid()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the files that git has or would add."""
    folder = tmp_path / "a checkout"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).is_file(), listed):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    yield folder
    left = Postgres(folder / ".local" / "postgres")
    if left.is_running():
        with left:
            pass  # replace its server, and stop that


def _kill(api: Running) -> None:
    os.killpg(api.process.pid, signal.SIGKILL)
    api.process.wait()


def test_every_acknowledged_task_is_there_after_a_kill_in_the_middle_of_writes(
    checkout: Path,
) -> None:
    acknowledged: list[str] = []
    enough = Event()
    api = until_ready(start(SETTINGS, checkout))
    client = Client(api.url, SECRET)

    def write_on(_: int) -> None:
        try:
            while True:
                acknowledged.append(client.create()["id"])
                if len(acknowledged) >= 50:
                    enough.set()
        except httpx.HTTPError:
            return  # killed, as intended

    with ThreadPoolExecutor(4) as pool:
        writers = pool.map(write_on, range(4))
        assert enough.wait(60)
        _kill(api)
        list(writers)
    with running(SETTINGS, checkout) as again:
        there = {task["id"] for task in _every_page(Client(again.url, SECRET, client.user))}
        with psycopg.connect(Postgres(checkout / ".local" / "postgres").url) as connection:
            roles = connection.execute(_ROLES).fetchall()
    assert set(acknowledged) <= there
    assert len(there) - len(acknowledged) <= 4  # at most the one that was on its way
    assert roles == [("task_login", False, False)], "it owns nothing and bypasses nothing"


def _every_page(client: Client) -> list[dict[str, str]]:
    tasks: list[dict[str, str]] = []
    path: str | None = client.path()
    while path:
        response = client.send("GET", path)
        tasks += response.json()
        path = response.links.get("next", {}).get("url")
    return tasks
