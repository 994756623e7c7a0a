"""docs/moving-in.md: its JavaScript does what the page says, in a page of another origin."""

from __future__ import annotations

import functools
import http.server
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.contract.browser import chromium
from tests.contract.client import Client
from tests.running import ROOT, running

SECRET = "a-secret-that-only-these-tests-know-0123456789"
SCRIPT = "\n".join(
    re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "moving-in.md").read_text(), re.DOTALL)
)
Evaluate = Callable[..., Any]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve an empty page, as a front end's server does."""
    folder = tmp_path_factory.mktemp("front end")
    (folder / "index.html").write_text("<!doctype html><title>A front end</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def client(new_database: Callable[[], str], origin: str) -> Iterator[Client]:
    """Return a user of an API that admits the front end."""
    settings = {"DATABASE_URL": new_database(), "JWT_SECRET": SECRET, "CORS_ORIGINS": origin}
    with running(settings) as api:
        yield Client(api.url, SECRET)


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Run one browser for this file, because it starts slowly."""
    with chromium(Path(tmp_path_factory.mktemp("profile"))) as browser:
        yield browser


@pytest.fixture
def evaluate(chrome: Chrome, origin: str, client: Client) -> Evaluate:
    """Return a function that evaluates an expression after the page's JavaScript has run."""
    chrome.get(origin)

    def value(expression: str, token: str = "") -> Any:
        names = {"API": client.base_url, "USER": client.user, "TOKEN": token or client.token()}
        constants = "".join(f"const {name} = {json.dumps(each)};" for name, each in names.items())
        return chrome.execute_async_script(
            f"""
            const done = arguments[arguments.length - 1];
            {constants}
            let signedOut = false;
            const token = () => TOKEN, signIn = () => {{ signedOut = true; }};
            {SCRIPT}
            (async () => {expression})().then(done, error => done(`failed: ${{error}}`));
            """
        )

    return value


def test_the_list_of_a_422_becomes_text(evaluate: Evaluate) -> None:
    text = evaluate(
        """{
        const response = await call(`/api/${USER}/tasks`, {method: "POST", body: "{}",
          headers: {"Content-Type": "application/json"}});
        return errorText(await response.json());
        }"""
    )
    assert text == "title: Field required"


def test_the_gateways_401_has_a_text_and_leads_to_the_sign_in(evaluate: Evaluate) -> None:
    found = evaluate(
        """{
        const plain = await (await fetch(`${API}/api/${USER}/tasks`)).json();
        await call(`/api/${USER}/tasks`);
        return [errorText(plain), signedOut];
        }""",
        "not a token",
    )
    assert found == ["Unauthorized", True]


def test_403_and_404_are_told_apart(evaluate: Evaluate) -> None:
    found = evaluate(
        """{
        const wrong = await call("/api/somebody-else/tasks");
        const gone = await call(taskPath(USER, "01a1fbe6-8b55-73ef-a902-9f83397caecb"));
        return [isWrongUser(wrong), isGone(wrong), isWrongUser(gone), isGone(gone), signedOut];
        }"""
    )
    assert found == [True, False, False, True, False]


def test_the_newest_task_comes_first_where_the_page_asks_for_it(
    evaluate: Evaluate, client: Client
) -> None:
    first, second = (client.create(title=title) for title in ("first", "second"))
    found = evaluate(
        "{ const tasks = await (await newestFirst(USER)).json();"
        " return [tasks.slice(0, 2).map(each => each.id), byId(tasks, tasks[1].id).title,"
        " withNew([1], 2)]; }"
    )
    assert found == [[second["id"], first["id"]], "first", [2, 1]]


def test_a_client_may_send_the_usual_headers_and_no_cookies(evaluate: Evaluate) -> None:
    found = evaluate(
        """{
        const headers = {"X-Requested-With": "XMLHttpRequest", "Cache-Control": "no-cache"};
        const send = options => call(`/api/${USER}/tasks`, options).then(each => each.status);
        const refused = await send({headers, credentials: "include"}).catch(error => error.name);
        return [refused, await send({headers, ...withoutCookies})];
        }"""
    )
    assert found == ["TypeError", 200]


def test_a_path_with_a_slash_and_a_wanted_state_have_their_lines(
    evaluate: Evaluate, client: Client
) -> None:
    client.create(title="open")
    found = evaluate(
        """{
        const path = `/api/${USER}/tasks/`;
        const [{id}] = await (await newestFirst(USER)).json();
        const flipped = await (await call(`${taskPath(USER, id)}/complete`, {method: "PATCH",
          headers: {"Content-Type": "application/json"}, body: '{"completed": false}'})).json();
        const wanted = await (await setCompleted(USER, id, true)).json();
        return [(await call(path)).status, (await call(withoutSlash(path))).status,
          withoutSlash("/a/?q=/"), flipped.completed, wanted.completed];
        }"""
    )
    assert found == [404, 200, "/a?q=/", True, True]


def test_all_pages_are_read_by_their_links(evaluate: Evaluate, client: Client) -> None:
    for number in range(5):
        client.create(title=f"task {number}")
    tasks = client.send("GET", client.path()).json()
    found = evaluate("(await allTasks(`/api/${USER}/tasks?limit=2`)).map(each => each.id)")
    assert found == [task["id"] for task in tasks]


def test_a_query_has_only_names_that_the_api_knows(evaluate: Evaluate) -> None:
    found = evaluate('String(query({status: "pending", colour: "red", limit: 5}))')
    assert found == "status=pending&limit=5"
