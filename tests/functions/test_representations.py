"""Headers and pages at their limits."""

import json
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tasks import Page, PageRequest, Sort, Task
from tests.functions.handlers import TASKS, Context, event, handler, recorded
from web.representations import listed

HEADER_BYTES = 8_000


def test_no_header_passes_8_kb_whatever_the_tasks_and_the_query_are(database_url: str) -> None:
    """The longest user id, titles that take most in a cursor, and the longest search."""
    user = "\U0001f375" * 255
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO tasks (user_id, id, title, description)"
            " SELECT %s, gen_random_uuid(), %s, %s FROM generate_series(1, 2)",
            (user, "\x01" * 500, "\U0001f375" * 100),
        )
    request = event("GET", TASKS, user=user)
    request["rawQueryString"] = "limit=1&sort=-title&status=pending&q=" + "%F0%9F%8D%B5" * 100
    first = handler("list_tasks")(request, Context())
    assert max(map(len, first["headers"].values())) <= HEADER_BYTES
    link = first["headers"]["Link"]
    following = urlsplit(link[link.index("<") + 1 : link.index(">")])
    assert following.path == ""
    second = handler("list_tasks")(request | {"rawQueryString": following.query}, Context())
    shown = [json.loads(answer["body"])[0]["id"] for answer in (first, second)]
    assert len(set(shown)) == 2
    assert "Link" not in second["headers"]


@pytest.mark.parametrize("name", ["list_tasks", "docs", "health"])
def test_every_response_asks_for_https(name: str) -> None:
    answer = handler(name)(recorded(name), Context())
    assert answer["headers"]["Strict-Transport-Security"] == "max-age=63072000"


def test_a_page_that_is_cut_goes_on_after_the_last_task_that_it_shows() -> None:
    tasks = [
        Task.model_validate(
            {
                "id": f"019a9f3c-5b1e-7c64-8f0a-{number:012}",
                "user_id": "alice",
                "title": "\x01" * 500,
                "description": "\x01" * 5000,
                "completed": False,
                "created_at": "2026-11-21T09:30:00Z",
                "updated_at": "2026-11-21T09:30:00Z",
            }
        )
        for number in range(500)
    ]
    page = Page(tasks, False, lambda task: f"after-{task.id}")
    response = listed(page, PageRequest(sort=Sort.CREATED), "alice", None)
    shown = json.loads(response.content)
    assert 0 < len(shown) < len(tasks)
    (cursor,) = parse_qs(urlsplit(response.headers["Link"].split(">")[0]).query)["cursor"]
    assert cursor == f"after-{shown[-1]['id']}"
