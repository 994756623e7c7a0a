"""The commands in the shell of somebody who works on other databases, too."""

from pathlib import Path

import httpx
import pytest

from tests.local.toy import command, environment, write_product
from tests.running import running

# Neon's exported set, and what else libpq reads without being asked to.
AMBIENT = {
    "PGHOSTADDR": "127.0.0.1",
    "PGPORT": "1",
    "PGUSER": "somebody",
    "PGPASSWORD": "of-another-project",
    "PGSSLMODE": "verify-full",
    "PGSERVICE": "other",
    "PGOPTIONS": "-c statement_timeout=nonsense",
    "PGDATA": "/nowhere",
}


@pytest.fixture
def ambient(tmp_path: Path) -> dict[str, str]:
    """Return the environment, with a home whose files speak of other servers."""
    home = tmp_path / "home"
    (home / ".postgresql").mkdir(parents=True)
    (home / ".pg_service.conf").write_text("[other]\nhost=127.0.0.1\nport=1\n")
    (home / ".pgpass").write_text("*:*:*:*:wrong\n")
    for name in ("root.crt", "postgresql.crt", "postgresql.key"):
        (home / ".postgresql" / name).write_text("none")
    return {**AMBIENT, "HOME": str(home)}


@pytest.mark.campaign
def test_every_command_uses_the_embedded_database_all_the_same(
    tmp_path: Path, packages: Path, ambient: dict[str, str]
) -> None:
    folder = write_product(tmp_path / "checkout", packages, events=True)
    with running(environment(ambient), cwd=folder) as api:
        assert httpx.get(f"{api.url}/health", timeout=30).status_code == 200
    for arguments, stdin in [
        (["invoke", "GetTask"], ""),
        (["psql"], "SELECT count(*) FROM tasks;"),
        (["token", "alice"], ""),
        (["reset"], "y\n"),
    ]:
        done = command(folder, "local", *arguments, stdin=stdin, **ambient)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done
