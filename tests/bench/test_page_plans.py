"""A page is found by an index, whatever page it is, and no more is read than it shows.

Plans, not times: what `make bench-paging` measures among ten million tasks, held on a hundred
thousand.
"""

from collections.abc import Iterator

import pytest

from bench.databases import folder_for_servers, new_database
from tasks.orders import Sort, Status
from tasks.paging import PageRequest
from tests.bench import plans
from tests.bench.filling import after, fill, using
from tests.neon.servers import Postgres

ALL, LIMIT = 100_000, 100
MINE = ALL // 10


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A table of a hundred thousand tasks, every tenth of one user."""
    folder = tmp_path_factory.mktemp("plans")
    for each in (folder, folder.parent, folder.parent.parent):
        each.chmod(each.stat().st_mode | 0o011)
    with Postgres(folder_for_servers(folder)) as postgres:
        url = new_database(postgres, "filled")
        fill(url, ALL)
        with using(url):
            yield url


@pytest.mark.parametrize("part", [0.0, 0.5])
@pytest.mark.parametrize("limit", [1, LIMIT])
def test_a_page_by_created_is_a_range_of_the_primary_key(
    filled: str, part: float, limit: int
) -> None:
    wanted = PageRequest(limit=limit)
    _is_a_range_of("tasks_pkey", after(filled, wanted, part) if part else wanted)


def test_the_last_page_by_created_reads_what_is_left_by_the_primary_key(filled: str) -> None:
    found = plans.plan(after(filled, PageRequest(limit=LIMIT), 1 - LIMIT / MINE))
    # For so few rows sorting them may be the cheaper way, and the planner may take it.
    assert _indexes(found) == ["tasks_pkey"]
    assert plans.rows_read(found) <= LIMIT + 1


def test_the_newest_tasks_are_the_other_end_of_the_primary_key(filled: str) -> None:
    assert filled
    _is_a_range_of("tasks_pkey", PageRequest(sort=Sort.CREATED_DESCENDING, limit=LIMIT))


@pytest.mark.parametrize(
    ("status", "part"), [(Status.PENDING, 0.0), (Status.COMPLETED, 0.0), (Status.COMPLETED, 0.5)]
)
def test_a_page_of_one_status_is_read_without_the_tasks_of_the_other(
    filled: str, status: Status, part: float
) -> None:
    wanted = PageRequest(status=status, limit=LIMIT)
    found = plans.plan(after(filled, wanted, part) if part else wanted)
    assert _kinds(found) <= {"Limit", "Result", "Index Scan"}
    assert plans.rows_read(found) <= LIMIT + 1


def test_the_pages_that_grow_read_no_other_users_tasks(filled: str) -> None:
    assert filled
    for wanted in (PageRequest(sort=Sort.TITLE), PageRequest(q="nothing like it")):
        assert plans.rows_read(plans.plan(wanted._replace(limit=LIMIT))) <= MINE


def _is_a_range_of(index: str, wanted: PageRequest) -> None:
    found = plans.plan(wanted)
    assert _kinds(found) <= {"Limit", "Result", "Index Scan"}, found
    assert _indexes(found) == [index]
    assert plans.rows_read(found) <= wanted.limit + 1


def _indexes(found: dict[str, object]) -> list[str]:
    return [str(node["Index Name"]) for node in plans.nodes(found) if "Index Name" in node]


def _kinds(found: dict[str, object]) -> set[str]:
    return {str(node["Node Type"]) for node in plans.nodes(found)}
