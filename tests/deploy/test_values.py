"""What a person gives to make reaches the command as it is: make and the shell expand nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.running import ROOT

_STAMPS = ("requirements/uv.txt", "requirements/dev.txt", "requirements/sam.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the Makefile, in which Python prints what it was given."""
    (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
    for name in (*_STAMPS, ".venv/ready", ".venv-sam/ready"):  # from old to new
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1_700_000_000, 1_700_000_000))
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir()
    python.write_text(
        '#!/bin/sh\nprintf "<%s>" "$@" "$DATABASE_URL" "$AWS_REGION" "$AWS_DEFAULT_REGION"\n'
    )
    python.chmod(0o755)
    return tmp_path


def _make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("goal", "name"),
    [
        ("smoke", "URL"),
        ("deploy", "ENV"),
        ("secrets", "ROTATE"),
        ("rollback", "FUNCTION"),
        ("pipeline", "REPOSITORY"),
        ("adopt", "DATABASE_URL"),
        ("run", "DATABASE_URL"),
        ("doctor", "DATABASE_URL"),
    ],
)
def test_no_value_is_expanded(folder: Path, goal: str, name: str) -> None:
    value = "a$b$$c$(shell touch made)`touch made`\"';touch made #\\"
    done = [_make(folder, goal, "BUILT=1", **{name: value})]
    if goal != "adopt":
        done.append(_make(folder, goal, "BUILT=1", f"{name}={value}"))
    for each in done:
        assert (each.returncode, each.stderr) == (0, "")
        assert value in each.stdout
    assert not (folder / "made").exists()


@pytest.mark.parametrize("goal", ["migrate", "deploy"])
def test_a_connection_string_on_the_command_line_is_refused(folder: Path, goal: str) -> None:
    done = _make(folder, goal, "DATABASE_URL=postgresql://u:hush@h/db")
    assert "A secret does not belong on the command line" in done.stderr
    assert "hush" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "region"),
    [
        ({"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "eu-west-1"}, "us-west-2"),
        ({"AWS_REGION": "us-west-2"}, "us-west-2"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
    ],
)
def test_boto3_and_sam_cli_get_one_region(folder: Path, given: dict[str, str], region: str) -> None:
    assert f"<{region}><{region}>" in _make(folder, "smoke", **given).stdout
