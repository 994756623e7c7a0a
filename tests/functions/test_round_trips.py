"""Every endpoint takes one round trip to the database for a request, counted on the wire."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.proxy import Proxy
from bench.servers import USER, Postgres
from tasks.database import database
from tests.functions.handlers import TASKS, Context, as_sent, event, handler, recorded
from tests.routes import ROUTES, Route

_WITHOUT_DATABASE = {"docs"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Run a Postgres on a port, so that a proxy can be put in front of it."""
    directory: Path = tmp_path_factory.mktemp("wire")
    for folder in (directory, *directory.parents):
        if folder.owner() == "root" and folder.is_relative_to(tmp_path_factory.getbasetemp()):
            folder.chmod(0o755)
    with Postgres(directory) as started:
        yield started


@pytest.fixture
def wire(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Put a proxy that counts between the handlers and their database."""
    monkeypatch.setenv("DATABASE_URL", server.admin_url)
    handler("migrate")({}, Context())
    server.admin(f"GRANT task_api TO {USER}")
    with Proxy(server.port) as proxy:
        url = server.url.replace(str(server.port), str(proxy.port))
        monkeypatch.setenv("DATABASE_URL", url)
        database.cache_clear()
        handler("health")(recorded("health"), Context())  # opens the connection
        yield proxy
        database().close()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "a-key", "if-match": "*"}], ids=str)
def test_a_request_costs_one_round_trip(
    route: Route, headers: dict[str, str], wire: Proxy, user: str
) -> None:
    """The request uses every feature of the API. What needs no database takes no round trip."""
    create = event("POST", TASKS, user=user, body={"title": "x"})
    task_id = json.loads(handler("create_task")(create, Context())["body"]).get("id")
    request = as_sent(route, user, task_id)
    request["headers"] |= headers
    before = wire.round_trips
    answer = handler(route.folder)(request, Context())
    assert answer["statusCode"] in (200, 201), answer["body"]
    assert wire.round_trips - before == (0 if route.folder in _WITHOUT_DATABASE else 1)
