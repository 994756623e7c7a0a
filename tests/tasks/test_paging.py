"""A page as data, and its time limit."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

import neon
from tasks import store
from tasks.errors import InvalidCursorError
from tasks.models import TaskCreate
from tasks.paging import PageRequest
from tests.identity.conftest import execute
from tests.tasks.conftest import Configure


@pytest.mark.usefixtures("url")
def test_a_page_can_be_cut_anywhere_and_continued_from_there(user: str) -> None:
    made = [store.create(user, TaskCreate(title=f"{number}")).value for number in range(5)]
    page = store.list_page(user, PageRequest(limit=4))
    assert (page.tasks, page.has_more) == (made[:4], True)
    rest = store.list_page(user, PageRequest(cursor=page.cursor_after(page.tasks[1])))
    assert (rest.tasks, rest.has_more) == (made[2:], False)


@pytest.mark.usefixtures("url")
def test_a_cursor_opens_for_its_user_filters_and_order_only(user: str) -> None:
    wanted = PageRequest(q="x", limit=1)
    for _ in range(2):
        store.create(user, TaskCreate(title="x"))
    page = store.list_page(user, wanted)
    cursor = page.cursor_after(page.tasks[0])
    assert len(store.list_page(user, wanted._replace(cursor=cursor)).tasks) == 1
    for other, request in ((str(uuid4()), wanted), (user, wanted._replace(q="y"))):
        with pytest.raises(InvalidCursorError):
            store.list_page(other, request._replace(cursor=cursor))


def test_a_list_that_takes_too_long_is_stopped_in_the_database(
    configure: Configure, url: str, user: str
) -> None:
    """The slowest search: a pattern that nearly matches everywhere in long texts."""
    execute(
        url,
        "INSERT INTO tasks (user_id, id, title, description) SELECT"
        f" '{user}', gen_random_uuid(), 'x', repeat('a', 5000) FROM generate_series(1, 3000)",
    )
    search = PageRequest(q="a" * 99 + "b")
    configure(LIST_TIMEOUT=0.2)
    with pytest.raises(neon.TimedOutError):
        store.list_page(user, search)
    assert running(url) == 0
    assert store.list_page(user, PageRequest(limit=1)).has_more


def running(url: str) -> int:
    """Return the number of searches that the database is still working on."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*)::int FROM pg_stat_activity"
            " WHERE state = 'active' AND query LIKE '%ILIKE%' AND pid <> pg_backend_pid()"
            " AND datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])
