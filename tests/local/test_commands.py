"""`make token`, `make invoke` and `make migrate`."""

import contextlib
import json
import shutil
import stat
import time
from pathlib import Path

import jwt
import pytest

from tests.local.toy import SECRET, command, served, write_product
from tests.running import ROOT

FIRST = f"first {SECRET}"


def test_token_prints_a_token_and_nothing_else(folder: Path) -> None:
    done = command(folder, "local", "token", "alice", JWT_SECRET=SECRET)
    assert (done.returncode, done.stderr) == (0, "")
    claims = jwt.decode(done.stdout.rstrip("\n"), SECRET, algorithms=["HS256"])
    assert claims["sub"] == "alice"
    assert abs(claims["exp"] - time.time() - 12 * 3600) < 60
    assert abs(claims["iat"] - time.time()) < 60
    assert claims.keys() == {"sub", "iat", "exp"}


def test_token_has_the_issuer_audience_and_life_that_are_set(folder: Path) -> None:
    settings = {"JWT_ISSUER": "me", "JWT_AUDIENCE": "you", "EXPIRES_IN": "60"}
    kept = _kept_secret(folder)
    done = command(folder, "local", "token", "alice", **settings)
    claims = jwt.decode(
        done.stdout.strip(), kept, algorithms=["HS256"], issuer="me", audience="you"
    )
    assert claims["exp"] - claims["iat"] == 60


def test_a_token_is_for_the_api_that_is_running(folder: Path) -> None:
    kept = _kept_secret(folder)

    def secret_of(**settings: str) -> str:
        token = command(folder, "local", "token", "alice", **settings).stdout.strip()
        for secret in (FIRST, SECRET, kept):
            with contextlib.suppress(jwt.InvalidSignatureError):
                jwt.decode(token, secret, algorithms=["HS256"])
                return secret
        raise AssertionError(token)

    with served(folder, JWT_SECRET=FIRST) as first:
        port = str(first.address[1])
        assert secret_of(PORT=port) == FIRST
        assert secret_of(PORT=port, JWT_SECRET=SECRET) == SECRET
    assert secret_of(PORT=port) == kept


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [([], {}), ([""], {}), (["a"], {"EXPIRES_IN": "soon"})],
)
def test_token_without_what_it_needs_says_so(
    folder: Path, arguments: list[str], settings: dict[str, str]
) -> None:
    done = command(folder, "local", "token", *arguments, **settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def test_invoke_prints_the_answer_and_the_logs_apart(folder: Path) -> None:
    event = folder / "event.json"
    event.write_text(json.dumps({"body": "print('a log'); answer = {'a': [1]}", **_PLAIN}))
    done = command(folder, "local", "invoke", "Work", str(event))
    assert (done.returncode, done.stdout) == (0, '{\n  "a": [\n    1\n  ]\n}\n')
    assert done.stderr.splitlines()[-1] == "Work: a log"


def test_invoke_of_a_function_that_fails_is_not_0(folder: Path) -> None:
    event = folder / "event.json"
    event.write_text(json.dumps({"body": "1 / 0", **_PLAIN}))
    done = command(folder, "local", "invoke", "Work", str(event))
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "ZeroDivisionError"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["invoke", "Nothing", "{event}"],
            "template.yaml has no function Nothing: F=... is one of ",
        ),
        (
            ["invoke", "Work", "nothing.json"],
            "There is no event nothing.json; Work has none in events/.",
        ),
        (["invoke", "Work", "template.yaml"], "template.yaml is not JSON: "),
        (["invoke", "Work"], "There is no event "),
        (["invoke"], "Name a function: F=... is one of Broken, "),
        (["invoke", "", "{event}"], "Name a function: F=... is one of Broken, "),
        (["fly"], "usage: "),
        (["invoke", "a", "b", "c"], "usage: "),
        (["run", "fast"], "usage: "),
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
    folder = write_product(tmp_path, packages)
    event = ROOT / "events/create_task.json"
    done = command(folder, "local", "invoke", "CreateTask", str(event))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statusCode"] == 201
    assert not (folder / ".local/postgres/postmaster.pid").exists()


def test_every_event_does_what_its_name_says(tmp_path: Path, packages: Path) -> None:
    folder = write_product(tmp_path, packages, events=True)
    done = command(folder, "local", "events")
    assert done.returncode == 0, done.stdout
    table = {line.split()[1]: line.split("ms  ")[1] for line in done.stdout.splitlines()}
    assert table.keys() == {path.stem for path in (ROOT / "events").glob("*.json")}
    assert table["authorizer"] == "ok"
    assert table["get_task"] == "200"
    assert table["create_task_blank_title"] == "422"
    assert table["list_tasks_of_another_user"] == "403"


def test_an_event_that_surprises_is_not_0(tmp_path: Path, packages: Path) -> None:
    folder = write_product(tmp_path, packages)
    (folder / "events").mkdir()
    shutil.copy(ROOT / "events/get_task_bad_id.json", folder / "events/get_task.json")
    shutil.copy(ROOT / "events/get_task.json", folder / "events/get_task_bad_id.json")
    done = command(folder, "local", "events")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2


def test_invoke_without_an_event_takes_the_functions_own(tmp_path: Path, packages: Path) -> None:
    folder = write_product(tmp_path, packages, events=True)
    done = command(folder, "local", "invoke", "GetTask")
    assert json.loads(json.loads(done.stdout)["body"])["title"] == "Made by make invoke"
    assert "  events/get_task_bad_id.json\n" in done.stderr
    missing = command(folder, "local", "invoke", "GetTask", "events/get.json")
    assert missing.stderr == (
        "There is no event events/get.json; GetTask has"
        " events/get_task.json, events/get_task_bad_id.json.\n"
    )


def test_migrate_says_which_version_the_schema_has(tmp_path: Path, packages: Path) -> None:
    folder = write_product(tmp_path, packages)
    first, second = (command(folder, "local", "migrate") for _ in range(2))
    assert json.loads(first.stdout)["applied"]
    assert json.loads(second.stdout)["applied"] == []
    assert json.loads(second.stdout)["version"] == json.loads(first.stdout)["version"]


def test_migrate_of_a_database_that_is_not_there_says_so(tmp_path: Path, packages: Path) -> None:
    folder = write_product(tmp_path, packages)
    done = command(
        folder, "local", "migrate", DATABASE_URL="postgresql://a:pass-word@127.0.0.1:1/c"
    )
    assert (done.returncode, done.stdout) == (1, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("The schema cannot be applied to DATABASE_URL: ")
    assert "pass-word" not in sentence


def _kept_secret(folder: Path) -> str:
    """Return the secret that a first command makes and keeps, for this user alone."""
    command(folder, "local", "token", "alice")
    path = folder / ".local/jwt_secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = path.read_text()
    assert len(secret) >= 32
    return secret


_PLAIN = {"isBase64Encoded": False}
