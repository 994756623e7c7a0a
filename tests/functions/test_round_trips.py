"""One round trip to the database a request, in every endpoint, counted on the wire."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tasks
from tests.functions.handlers import TASK, TASKS, Context, event, handler, recorded
from tests.neon.proxy import Proxy
from tests.neon.servers import USER, Postgres

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A Postgres that listens where a proxy can stand before it."""
    directory: Path = tmp_path_factory.mktemp("wire")
    for folder in (directory, *directory.parents):
        if folder.owner() == "root" and folder.is_relative_to(tmp_path_factory.getbasetemp()):
            folder.chmod(0o755)
    with Postgres(directory) as started:
        yield started


@pytest.fixture
def wire(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The handlers' way to their database, counted."""
    monkeypatch.setenv("DATABASE_URL", server.admin_url)
    handler("migrate")({}, Context())
    server.admin(f"GRANT task_api TO {USER}")
    with Proxy(server.port) as proxy:
        url = server.url.replace(str(server.port), str(proxy.port))
        monkeypatch.setenv("DATABASE_URL", url)
        tasks.database.cache_clear()
        handler("health")(recorded("health"), Context())  # connects
        yield proxy
        tasks.database().close()


def _requests(user: str) -> dict[str, Callable[[], Answer]]:
    """Each endpoint's request, on a task of its own, with everything that a client may ask for."""

    def create(**headers: str) -> Answer:
        request = event("POST", TASKS, user=user, body={"title": "x"})
        request["headers"] |= headers
        answer: Answer = handler("create_task")(request, Context())
        return answer

    def of_task(name: str, method: str, resource: str, body: object = None) -> Answer:
        task_id = json.loads(create()["body"])["id"]
        request = event(method, resource, user=user, body=body, task_id=task_id)
        request["headers"] |= {"idempotency-key": f"{name}-{task_id}", "if-match": "*"}
        answer: Answer = handler(name)(request, Context())
        return answer

    return {
        "list": lambda: handler("list_tasks")(event("GET", TASKS, user=user), Context()),
        "create": create,
        "create once": lambda: create(**{"idempotency-key": "a-key"}),
        "get": lambda: of_task("get_task", "GET", TASK),
        "update once": lambda: of_task("update_task", "PUT", TASK, {"title": "y"}),
        "toggle once": lambda: of_task("toggle_task", "PATCH", TASK + "/complete"),
        "delete once": lambda: of_task("delete_task", "DELETE", TASK),
        "health": lambda: handler("health")(recorded("health"), Context()),
    }


@pytest.mark.parametrize("name", list(_requests("nobody")))
def test_a_request_costs_one_round_trip(name: str, wire: Proxy, user: str) -> None:
    before = wire.round_trips
    answer = _requests(user)[name]()
    assert answer["statusCode"] in (200, 201), answer["body"]
    made_first = 1 if name in ("get", "update once", "toggle once", "delete once") else 0
    assert wire.round_trips - before == 1 + made_first
