"""Every contender of the benchmark does the same work: the same answers, with the same security."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from local.errors import LocalError
from tests.bench import filling
from tests.bench.peers import NAMES, OPERATIONS, Contender, build
from tests.bench.side_by_side.environment import Environment
from tests.bench.side_by_side.processes import CONTENDERS, Runtime
from tests.functions.handlers import TASK, TASKS, event
from tests.neon import servers
from tests.neon.conftest import need_pgbouncer
from tests.neon.servers import PASSWORD, QUOTED, Authority, PgBouncer, Postgres
from tests.running import ROOT
from tests.test_build import MAGIC

LOGIN = "task_login"
HIDDEN = "Hidden by a policy"
Answer = dict[str, Any]
Invoke = Callable[..., Answer]

_KNOWS_PREPARED_STATEMENTS = (1, 21)  # PgBouncer, as Neon's does; two peers rely on it

_LOGIN = f"CREATE ROLE {LOGIN} LOGIN NOINHERIT PASSWORD '{PASSWORD}' IN ROLE task_api"
# Only who acts as task_api is bound by it, and who is not has no right to the table at all.
_HIDE = f"CREATE POLICY hidden ON tasks AS RESTRICTIVE TO task_api USING (title <> '{HIDDEN}')"


@pytest.fixture(scope="module")
def contenders(runtime: Runtime) -> dict[str, Contender]:
    """All of them, built; unchanged ones are kept from one run to the next."""
    assert runtime
    return {each.name: each for each in build(ROOT, CONTENDERS, print)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A Postgres with the product's schema."""
    folder = filling.folder_for_servers(tmp_path_factory.mktemp("peers"))
    with Postgres(folder) as server:
        filling.new_database(server, "tasks")
        server.admin(_LOGIN, "ALTER DATABASE tasks SET timezone = 'Asia/Kolkata'")
        with psycopg.connect(_owner(server), autocommit=True) as connection:
            connection.execute(_HIDE.encode())
        yield server


@pytest.fixture(scope="module")
def url(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its connection string as Neon gives it, through a pooler with TLS, where there is one.

    The pooler has one server connection: what a contender leaves behind is the next one's.
    """
    if servers.pgbouncer_version() < _KNOWS_PREPARED_STATEMENTS:
        yield f"postgresql://{LOGIN}:{QUOTED}@127.0.0.1:{server.port}/tasks"
        return
    folder = filling.folder_for_servers(tmp_path_factory.mktemp("pooler"))
    authority = Authority(folder / "certificates")
    certificate = authority.issue("localhost")
    certificate.key.chmod(0o644)
    (folder / "logins").write_text(f'"{LOGIN}" "{PASSWORD}"\n')
    settings = {"auth_file": folder / "logins", "max_prepared_statements": 100}
    with PgBouncer(folder / "it", server, certificate=certificate, **settings) as pooler:
        verified = f"sslmode=verify-full&sslrootcert={authority.roots}&channel_binding=prefer"
        yield f"postgresql://{LOGIN}:{QUOTED}@localhost:{pooler.port}/tasks?{verified}"


def _owner(server: Postgres) -> str:
    return server.admin_url.replace("@/postgres?", "@/tasks?")


@pytest.fixture(scope="module")
def start(
    contenders: dict[str, Contender], runtime: Runtime, url: str
) -> Iterator[Callable[[str], Invoke]]:
    """Starts a contender's functions; a function with several operations is one process."""
    started: dict[Path, Environment] = {}
    with ExitStack() as stack:

        def start(name: str) -> Invoke:
            for operation in OPERATIONS:
                folder = contenders[name].functions[operation]
                if folder not in started:
                    command = runtime.command(contenders[name], operation, url)
                    started[folder] = stack.enter_context(Environment(command))
                    started[folder].ready()

            def invoke(operation: str, *arguments: Any, **more: Any) -> Answer:
                sent = json.dumps(_request(operation, *arguments, **more)).encode()
                environment = started[contenders[name].functions[operation]]
                answer: Answer = json.loads(environment.invoke(sent)[1])
                return answer

            return invoke

        yield start


def test_a_contender_is_packaged_as_the_layer_is(contenders: dict[str, Contender]) -> None:
    for contender in contenders.values():
        sources = [file for folder in contender.packages for file in folder.rglob("*.py")]
        assert len(sources) > 50, contender.name
        for source in sources:
            compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
            assert compiled.read_bytes()[:8] == MAGIC, source
        assert not {"boto3", "bin"} & {each.parent.name for each in sources}


def test_a_contender_is_not_built_again_while_nothing_changed(
    contenders: dict[str, Contender],
) -> None:
    said: list[str] = []
    again = build(ROOT, CONTENDERS, said.append)
    assert {each.name: each for each in again} == contenders
    assert said == []


def test_an_unknown_contender_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"There is no contender django\."):
        build(ROOT, tmp_path, print, ["floor", "django"])


_ROUTES = {
    "list_tasks": ("GET", TASKS),
    "create_task": ("POST", TASKS),
    "get_task": ("GET", TASK),
    "update_task": ("PUT", TASK),
    "delete_task": ("DELETE", TASK),
    "toggle_task": ("PATCH", f"{TASK}/complete"),
}


def _request(
    operation: str, user: str, *, body: object = None, sub: str = "", exp: str = "", **path: str
) -> dict[str, Any]:
    """An event as the gateway sends it, with the authorizer's answer in it."""
    method, resource = _ROUTES[operation]
    sent = event(method, resource, user=user, body=body, **path)
    place = resource.format(user_id=user, **path)
    sent["rawPath"] = sent["requestContext"]["http"]["path"] = place
    claims = sent["requestContext"]["authorizer"]["lambda"]
    claims |= {"sub": sub or user, "exp": exp or claims["exp"]}
    return sent


def _story(invoke: Invoke, user: str) -> list[tuple[str, int, Any]]:
    """What a client does with tasks, right and wrong: each step, its status, and its answer."""
    known: dict[str, str] = {user: "USER"}
    told: list[tuple[str, int, Any]] = []

    def step(say: str, operation: str, **more: Any) -> Any:
        answer = invoke(operation, more.pop("user", user), **more)
        body = json.loads(answer["body"])
        told.append((say, answer["statusCode"], _comparable(body, known)))
        return body

    step("nothing yet", "list_tasks")
    milk = step("create", "create_task", body={"title": "  Milk ", "description": "Two"})["id"]
    tea = step("create a bare one", "create_task", body={"title": "Tee 🍵", "completed": True})[
        "id"
    ]
    for title in ("", "   ", "x" * 501, "a\0b", "\ud800", 7, None):
        step(f"create {title!r:.9}", "create_task", body={"title": title})
    step("create without a title", "create_task", body={})
    step("create with too much", "create_task", body={"title": "x", "description": "x" * 5001})
    step("create with a list", "create_task", body=[1])
    step("list", "list_tasks")
    step("get", "get_task", task_id=milk)
    step("get what is not there", "get_task", task_id=str(uuid4()))
    step("get what is no id", "get_task", task_id="milk")
    step("rename", "update_task", task_id=milk, body={"title": "Oat milk"})
    step("complete", "update_task", task_id=milk, body={"completed": True, "title": None})
    step("clear", "update_task", task_id=milk, body={"description": ""})
    step("change nothing", "update_task", task_id=tea, body={})
    step("update what is not there", "update_task", task_id=str(uuid4()), body={"title": "x"})
    step("update to a blank title", "update_task", task_id=milk, body={"title": " "})
    step("toggle", "toggle_task", task_id=milk)
    step("toggle back", "toggle_task", task_id=milk)
    step("toggle what is not there", "toggle_task", task_id=str(uuid4()))
    step("delete", "delete_task", task_id=milk)
    step("delete again", "delete_task", task_id=milk)
    step("list what is left", "list_tasks")
    for operation in _ROUTES:
        path = {"task_id": tea} if "task_id" in _ROUTES[operation][1] else {}
        body = {"title": "x"} if operation in ("create_task", "update_task") else None
        step(f"another's {operation}", operation, sub="somebody else", body=body, **path)
        step(f"expired {operation}", operation, exp="1", body=body, **path)
        if path:
            step(f"foreign {operation}", operation, user=f"{user}-2", body=body, **path)
    untouched = step("nothing has happened to it", "get_task", task_id=tea)
    assert _is_now(untouched["created_at"])
    return told


def _comparable(body: Any, known: dict[str, str]) -> Any:
    """An answer without what differs in every run: ids are numbered, times are near or not.

    Of an error only where it is: each has its own words.
    """
    if isinstance(body, list):
        return [_comparable(each, known) for each in body]
    if "detail" in body:
        detail = body["detail"]
        return _place(detail) if isinstance(detail, list) else detail
    if "id" not in body:
        return body
    known.setdefault(body["id"], f"task {len(known)}")
    created, updated = body["created_at"], body["updated_at"]
    return body | {
        "id": known[body["id"]],
        "user_id": known[body["user_id"]],
        "created_at": _is_now(created),
        "updated_at": [_is_now(updated), created < updated],
    }


def _is_now(text: str) -> bool:
    """Whether it is the time of this test, and said in UTC with the letter for it."""
    age = datetime.now(UTC) - datetime.fromisoformat(text)
    return text.endswith("Z") and abs(age) < timedelta(minutes=5)


def _place(errors: list[dict[str, Any]]) -> str:
    return str(errors[0]["loc"][0])


@pytest.fixture(scope="module")
def ours(start: Callable[[str], Invoke]) -> list[tuple[str, int, Any]]:
    """The story as our API tells it."""
    return _story(start("ours"), f"user-{uuid4()}")


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_peer_answers_as_our_api_does(
    name: str, start: Callable[[str], Invoke], ours: list[tuple[str, int, Any]]
) -> None:
    theirs = _story(start(name), f"user-{uuid4()}")
    for their_step, our_step in zip(theirs, ours, strict=True):
        assert _without_words(their_step) == _without_words(our_step)


def _without_words(step: tuple[str, int, Any]) -> tuple[str, int, Any]:
    say, status, answer = step
    return say, status, None if status in (401, 403) else answer


@pytest.mark.parametrize("name", NAMES)
def test_a_contender_is_bound_by_row_level_security(
    name: str, start: Callable[[str], Invoke], server: Postgres
) -> None:
    user, invoke = f"user-{uuid4()}", start(name)
    seen = json.loads(invoke("create_task", user, body={"title": "Seen"})["body"])
    with psycopg.connect(_owner(server), autocommit=True) as connection:
        row = connection.execute(
            "INSERT INTO tasks (user_id, id, title) VALUES (%s, gen_random_uuid(), %s)"
            " RETURNING id",
            [user, HIDDEN],
        ).fetchone()
    assert row is not None
    hidden = str(row[0])
    listed = json.loads(invoke("list_tasks", user)["body"])
    assert [each["id"] for each in listed] == [seen["id"]]
    for operation in ("get_task", "toggle_task", "delete_task", "update_task"):
        body = {"completed": True} if operation == "update_task" else None
        assert invoke(operation, user, task_id=hidden, body=body)["statusCode"] == 404


@pytest.mark.parametrize("name", NAMES)
def test_a_contender_leaves_no_identity_on_its_connection(
    name: str, start: Callable[[str], Invoke], url: str
) -> None:
    invoke = start(name)
    need_pgbouncer(*_KNOWS_PREPARED_STATEMENTS)  # else nobody else has the same connection
    task = json.loads(invoke("create_task", "somebody", body={"title": "x"})["body"])
    invoke("get_task", "somebody", task_id=task["id"])
    invoke("delete_task", "somebody", task_id=task["id"])
    with psycopg.connect(url, prepare_threshold=None) as connection:
        row = connection.execute(
            "SELECT current_user, current_setting('app.user_id', true)"
        ).fetchone()
    assert row is not None
    assert row[0] == LOGIN
    assert not row[1]
