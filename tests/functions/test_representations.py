"""Headers and pages at their limits."""

import json
from urllib.parse import quote, urlsplit

import psycopg

from tests.functions.handlers import TASKS, Context, event, handler

HEADER_BYTES = 8_000


def test_no_header_passes_8_kb_whatever_the_tasks_and_the_query_are(database_url: str) -> None:
    """The longest user id, the titles that need most space in a cursor, and the longest search."""
    user = "\U0001f375" * 255
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO tasks (user_id, id, title, description)"
            " SELECT %s, gen_random_uuid(), %s, %s FROM generate_series(1, 2)",
            (user, "\U0001f375" * 500, "\U0001f375" * 100),
        )
    request = event("GET", TASKS, user=user)
    request["rawQueryString"] = "limit=1&sort=-title&status=pending&q=" + "%F0%9F%8D%B5" * 100
    first = handler("list_tasks")(request, Context())
    assert max(map(len, first["headers"].values())) <= HEADER_BYTES
    link = first["headers"]["Link"]
    following = urlsplit(link[link.index("<") + 1 : link.index(">")])
    assert following.path == f"/api/{quote(user)}/tasks"
    second = handler("list_tasks")(request | {"rawQueryString": following.query}, Context())
    shown = [json.loads(answer["body"])[0]["id"] for answer in (first, second)]
    assert len(set(shown)) == 2
    assert "Link" not in second["headers"]
