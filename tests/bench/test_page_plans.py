"""A page is found by an index, whatever page it is, and no more is read than it shows.

Plans, not times: what `make bench-paging` measures among ten million tasks, held on a hundred
thousand.
"""

from collections.abc import Iterator

import pytest

from bench import paging
from bench.databases import new_database
from bench.paging import PAGES, page
from bench.servers import Postgres

ALL, SHARE = 100_000, 10
BY_INDEX = {name for name, (wanted, _) in PAGES.items() if "created" in wanted.sort}
BY_INDEX -= {name for name in PAGES if name.startswith("`q`")}


@pytest.fixture(scope="module", autouse=True)
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A table of a hundred thousand tasks, every tenth of one user."""
    folder = tmp_path_factory.mktemp("plans")
    for each in (folder, folder.parent, folder.parent.parent):
        each.chmod(each.stat().st_mode | 0o011)  # the server runs as another account
    with Postgres(folder / "postgres") as postgres:
        url = new_database(postgres, "filled")
        paging.fill(url, ALL, SHARE)
        with paging.using(url):
            yield


@pytest.mark.parametrize("limit", [1, paging.LIMIT])
@pytest.mark.parametrize("name", sorted(BY_INDEX))
def test_a_page_by_created_is_a_range_of_an_index(name: str, limit: int) -> None:
    found = paging.plan(page(name, ALL, SHARE)._replace(limit=limit))
    nodes = [*paging.nodes(found)]
    assert paging.rows_read(found) <= limit + 1
    # For the few rows of the last page sorting may be the cheaper way, and the planner may take it.
    assert name.endswith("last") or {node["Node Type"] for node in nodes} <= {
        *("Limit", "Result", "Index Scan")
    }
    if name.startswith("by `created`"):
        assert set(paging.found_by(found)) <= {"tasks_pkey", "Bitmap Heap Scan"}


@pytest.mark.parametrize("name", sorted(PAGES.keys() - BY_INDEX))
def test_the_pages_that_grow_read_no_other_users_tasks(name: str) -> None:
    assert paging.rows_read(paging.plan(page(name, ALL, SHARE))) <= ALL // SHARE
