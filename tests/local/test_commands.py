"""`make token`, `make invoke` and `make migrate`."""

import json
import time
from pathlib import Path

import jwt
import pytest

from tests.local.toy import SECRET, command
from tests.running import ROOT


def test_token_prints_a_token_and_nothing_else(folder: Path) -> None:
    done = command(folder, "local.token", "alice", JWT_SECRET=SECRET)
    assert (done.returncode, done.stderr) == (0, "")
    claims = jwt.decode(done.stdout.rstrip("\n"), SECRET, algorithms=["HS256"])
    assert claims["sub"] == "alice"
    assert abs(claims["exp"] - time.time() - 12 * 3600) < 60
    assert abs(claims["iat"] - time.time()) < 60
    assert claims.keys() == {"sub", "iat", "exp"}


def test_token_has_the_issuer_audience_and_life_that_are_set(folder: Path) -> None:
    settings = {"JWT_ISSUER": "me", "JWT_AUDIENCE": "you", "EXPIRES_IN": "60"}
    done = command(folder, "local.token", "alice", **settings)
    kept = (folder / ".local/jwt_secret").read_text()
    claims = jwt.decode(
        done.stdout.strip(), kept, algorithms=["HS256"], issuer="me", audience="you"
    )
    assert claims["exp"] - claims["iat"] == 60


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [([], {}), ([""], {}), (["a"], {"EXPIRES_IN": "soon"}), (["a"], {"JWT_SECRET": "x"})],
)
def test_token_without_what_it_needs_says_so(
    folder: Path, arguments: list[str], settings: dict[str, str]
) -> None:
    done = command(folder, "local.token", *arguments, **settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def test_invoke_prints_the_answer_and_the_logs_apart(folder: Path) -> None:
    event = folder / "event.json"
    event.write_text(json.dumps({"body": "print('a log'); answer = {'a': [1]}", **_PLAIN}))
    done = command(folder, "local", "invoke", "Work", str(event))
    assert (done.returncode, done.stdout) == (0, '{\n  "a": [\n    1\n  ]\n}\n')
    assert done.stderr.splitlines()[-1] == "a log"


def test_invoke_of_a_function_that_fails_is_not_0(folder: Path) -> None:
    event = folder / "event.json"
    event.write_text(json.dumps({"body": "1 / 0", **_PLAIN}))
    done = command(folder, "local", "invoke", "Work", str(event))
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "ZeroDivisionError"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["invoke", "Nothing", "{event}"], "template.yaml has no function Nothing; it has "),
        (["invoke", "Work", "nothing.json"], "nothing.json cannot be read: No such file"),
        (["invoke", "Work", "template.yaml"], "template.yaml is not JSON: "),
        (["invoke"], "usage: "),
        (["fly"], "usage: "),
    ],
)
def test_a_wrong_command_is_said_in_one_sentence(
    folder: Path, arguments: list[str], said: str
) -> None:
    (folder / "event.json").write_text("{}")
    done = command(folder, "local", *(each.format(event="event.json") for each in arguments))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1


def test_invoke_starts_a_database_where_one_is_needed(tmp_path: Path, packages: Path) -> None:
    folder = _product(tmp_path, packages)
    event = ROOT / "events/create_task.json"
    done = command(folder, "local", "invoke", "CreateTask", str(event))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statusCode"] == 201
    assert not (folder / ".local/postgres/postmaster.pid").exists()


def test_migrate_says_which_version_the_schema_has(tmp_path: Path, packages: Path) -> None:
    folder = _product(tmp_path, packages)
    first, second = (command(folder, "local", "migrate") for _ in range(2))
    assert json.loads(first.stdout)["applied"]
    assert json.loads(second.stdout)["applied"] == []
    assert json.loads(second.stdout)["version"] == json.loads(first.stdout)["version"]


def test_migrate_of_a_database_that_is_not_there_says_so(tmp_path: Path, packages: Path) -> None:
    folder = _product(tmp_path, packages)
    done = command(folder, "local", "migrate", DATABASE_URL="postgresql://a:b@127.0.0.1:1/c")
    assert (done.returncode, done.stdout) == (1, "")
    assert "The schema cannot be applied to DATABASE_URL: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr.splitlines()[-1]


_PLAIN = {"isBase64Encoded": False}


def _product(folder: Path, packages: Path) -> Path:
    """Return a checkout whose sources are the product's own, with data of its own."""
    for name in ("template.yaml", "functions", "layers", "requirements"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".local").mkdir()
    (folder / ".local/packages").symlink_to(packages)
    return folder
