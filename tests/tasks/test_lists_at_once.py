"""How many lists of one user are at work in the database at once."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from bench.servers import until
from tasks import store
from tasks.errors import TooManyListsError
from tasks.models import TaskCreate
from tasks.paging import Page, PageRequest
from tests.identity.conftest import execute
from tests.tasks.conftest import Configure

_NUMBER = 7
_GATE = f" CROSS JOIN (SELECT pg_advisory_xact_lock_shared({_NUMBER})) AS gate"
_WAITING = "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def test_a_user_has_so_many_lists_at_work_and_a_stranger_others(
    configure: Configure,
    url: str,
    user: str,
    crowd: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lists wait for a gate in the middle of their work. A refused one does not reach it."""
    configure(MAX_LISTS_PER_USER=2, LIST_TIMEOUT=10)
    stranger = str(uuid4())
    new = [crowd.submit(store.create, who, TaskCreate(title="x")) for who in (user, stranger)]
    mine, theirs = [[each.result().value] for each in new]
    monkeypatch.setattr(store, "_LIST", store._LIST + _GATE)

    def start(who: str, at_work: int) -> Future[Page]:
        running = crowd.submit(store.list_page, who, PageRequest())
        until(lambda: running.done() or execute(url, _WAITING) == [(at_work,)])
        return running

    with psycopg.connect(url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (_NUMBER,))
        lists = [start(user, 1), start(user, 2)]
        for _ in range(3):
            with pytest.raises(TooManyListsError):
                crowd.submit(store.list_page, user, PageRequest()).result()
        lists.append(start(stranger, 3))
    assert [each.result().tasks for each in lists] == [mine, mine, theirs]
    assert crowd.submit(store.list_page, user, PageRequest()).result().tasks == mine
