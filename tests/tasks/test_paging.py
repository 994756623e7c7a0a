"""A page as data: every sort and filter, cursors, and the time limit."""

from __future__ import annotations

import base64
from typing import Any
from uuid import uuid4

import psycopg
import pytest

import neon
from tasks import store
from tasks.errors import InvalidCursorError
from tasks.models import Task, TaskCreate
from tasks.orders import FILTERS, Sort, Status
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


SAMPLES: dict[str, list[Any]] = {
    "status": [Status.PENDING, Status.COMPLETED],
    "q": ["milk"],
}
"""Values of every filter, none of which is the default."""

REQUESTS = [
    PageRequest(sort=sort)._replace(**chosen)
    for sort in Sort
    for chosen in [{}, *({name: value} for name, values in SAMPLES.items() for value in values)]
]


def shown(wanted: PageRequest) -> str:
    return "&".join(f"{name}={value}" for name, value in wanted.query().items())


def test_every_member_of_a_request_is_a_filter_with_samples_or_says_how_to_show_the_list() -> None:
    others = {"sort", "limit", "cursor"}
    assert set(PageRequest._fields) - others == FILTERS.keys() == SAMPLES.keys()


@pytest.fixture(scope="module")
def owner() -> str:
    return f"owner {uuid4()}"


@pytest.fixture
def made(url: str, owner: str) -> list[Task]:
    """Return a user's tasks, many of which are alike in all but their ids."""
    if not store.list_page(owner, PageRequest(limit=1)).tasks:
        for number in range(12):
            title = ["Milk", "milk", "Bread"][number % 3]
            task = store.create(owner, TaskCreate(title=title, description="x")).value
            if number % 4 == 0:
                store.toggle(owner, task.id)
        alike = "UPDATE tasks SET updated_at = now() WHERE title = 'milk' AND user_id = "
        execute(url, f"{alike}'{owner}'")
    return store.list_page(owner, PageRequest()).tasks


@pytest.mark.parametrize("wanted", REQUESTS, ids=shown)
def test_the_pages_together_are_the_whole_list(
    wanted: PageRequest, made: list[Task], owner: str
) -> None:
    whole = store.list_page(owner, wanted).tasks
    assert 0 < len(whole) < len(made) or not wanted.filters()
    found: list[Task] = []
    page = store.list_page(owner, wanted._replace(limit=1))
    while page.has_more:
        found += page.tasks
        cursor = page.cursor_after(page.tasks[-1])
        page = store.list_page(owner, wanted._replace(limit=1, cursor=cursor))
    assert found + page.tasks == whole
    name = wanted.sort.removeprefix("-") if wanted.sort.startswith("-") else f"-{wanted.sort}"
    assert store.list_page(owner, wanted._replace(sort=Sort(name))).tasks == whole[::-1]


@pytest.mark.parametrize("wanted", REQUESTS, ids=shown)
def test_a_cursor_is_for_its_user_its_filters_and_its_order_alone(
    wanted: PageRequest, made: list[Task], user: str
) -> None:
    cursor = wanted.cursor_after(made[5])
    position = wanted._replace(cursor=cursor).position(made[5].user_id)
    assert position is not None
    assert position.id == made[5].id
    for other in REQUESTS:
        if other != wanted:
            with pytest.raises(InvalidCursorError):
                store.list_page(made[5].user_id, other._replace(cursor=cursor))
    with pytest.raises(InvalidCursorError):
        store.list_page(user, wanted._replace(cursor=cursor))


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize(
    ("sort", "row"),
    [
        (Sort.CREATED, b"x" * 15),
        (Sort.CREATED, b"x" * 16 + b"=more"),
        (Sort.UPDATED, b"x" * 16 + b"=yesterday"),
        (Sort.TITLE, b"x" * 16 + b"=a\0b"),
        (Sort.TITLE, b"x" * 16 + b"=\xff"),
    ],
)
def test_a_cursor_that_somebody_made_up_is_refused_before_the_database_sees_it(
    sort: Sort, row: bytes, user: str
) -> None:
    wanted = PageRequest(sort=sort)
    raw = b"\1" + wanted._digest(row, user) + row
    cursor = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    with pytest.raises(InvalidCursorError):
        store.list_page(user, wanted._replace(cursor=cursor))


@pytest.mark.parametrize("sort", Sort)
def test_the_database_sends_one_task_more_than_there_is_room_for(
    sort: Sort, url: str, user: str
) -> None:
    execute(
        url,
        "INSERT INTO tasks (user_id, id, title, description) SELECT"
        f" '{user}', gen_random_uuid(), 'x' || n, repeat('\U0001f375', 2500) FROM"
        " generate_series(1, 300) n",
    )
    whole = store.list_page(user, PageRequest(sort=sort)).tasks
    assert store.list_page(user, PageRequest(sort=sort), 1_000_000).tasks == whole[:100]
    assert store.list_page(user, PageRequest(sort=sort), 9_000_000).tasks == whole


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
