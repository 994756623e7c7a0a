"""`make token`, `make invoke` and `make events`."""

import json
import stat
import time
from pathlib import Path

import jwt
import psycopg
import pytest

from local.postgres import Postgres
from tests.local.toy import SECRET, command, served, write_product
from tests.running import ROOT

FIRST = f"first {SECRET}"


def test_token_prints_a_token_and_nothing_else(folder: Path) -> None:
    done = command(folder, "local", "token", "alice", JWT_SECRET=SECRET)
    assert (done.returncode, done.stderr) == (0, "")
    claims = jwt.decode(done.stdout.rstrip("\n"), SECRET, algorithms=["HS256"])
    assert claims["sub"] == "alice"
    assert abs(claims["exp"] - time.time() - 12 * 3600) < 60
    assert claims.keys() == {"sub", "iat", "exp"}
    settings = {"JWT_SECRET": SECRET, "JWT_ISSUER": "me", "JWT_AUDIENCE": "you"}
    token = command(folder, "local", "token", "alice", **settings).stdout.strip()
    assert jwt.decode(token, SECRET, algorithms=["HS256"], issuer="me", audience="you")


def test_a_token_is_for_the_api_that_is_running(folder: Path) -> None:
    command(folder, "local", "token", "alice")
    path = folder / ".local/jwt_secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def check(secret: str, **settings: str) -> None:
        token = command(folder, "local", "token", "alice", **settings).stdout.strip()
        assert jwt.decode(token, secret, algorithms=["HS256"])["sub"] == "alice"

    with served(folder, JWT_SECRET=FIRST) as first:
        port = first.port
        check(FIRST, PORT=port)
        check(SECRET, PORT=port, JWT_SECRET=SECRET)
    check(path.read_text(), PORT=port)


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
        (["token", ""], "Name the user that the token is for"),
        (["invoke", "Nothing"], "template.yaml has no function Nothing: F=... is one of "),
        (["invoke", "Work", "nothing.json"], "There is no event nothing.json; Work has none in "),
        (["invoke", "Work", "template.yaml"], "template.yaml is not JSON: "),
        (["fly"], "usage: "),
    ],
)
def test_a_wrong_command_is_said_in_one_sentence(
    folder: Path, arguments: list[str], said: str
) -> None:
    done = command(folder, "local", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1


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
    with Postgres(folder / ".local/postgres") as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT title FROM tasks").fetchall() == []


def test_invoke_without_an_event_takes_the_functions_own(tmp_path: Path, packages: Path) -> None:
    folder = write_product(tmp_path, packages, events=True)
    done = command(folder, "local", "invoke", "GetTask")
    assert json.loads(json.loads(done.stdout)["body"])["title"] == "Made by make invoke"
    assert "  events/get_task_bad_id.json\n" in done.stderr
    assert not (folder / ".local/postgres/postmaster.pid").exists()


_PLAIN = {"isBase64Encoded": False}
