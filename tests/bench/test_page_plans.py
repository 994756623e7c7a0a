"""A page is found by an index, whatever page it is, and no more is read than it shows.

Plans, not times: what `make bench-paging` measures among ten million tasks, held on a hundred
thousand.
"""

from collections.abc import Iterator

import pytest

from bench import paging
from bench.databases import new_database
from bench.paging import LIMIT, after
from tasks.orders import Sort, Status
from tasks.paging import PageRequest
from tests.neon.servers import Postgres

ALL, MINE = 100_000, 10_000
CREATED = PageRequest(limit=LIMIT)

pytestmark = pytest.mark.usefixtures("filled")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A table of a hundred thousand tasks, every tenth of one user."""
    folder = tmp_path_factory.mktemp("plans")
    for each in (folder, folder.parent, folder.parent.parent):
        each.chmod(each.stat().st_mode | 0o011)  # the server runs as another account
    with Postgres(folder / "postgres") as postgres:
        url = new_database(postgres, "filled")
        paging.fill(url, ALL, ALL // MINE)
        with paging.using(url):
            yield


@pytest.mark.parametrize("from_the_middle", [False, True])
@pytest.mark.parametrize("limit", [1, LIMIT])
def test_a_page_by_created_is_a_range_of_the_primary_key(from_the_middle: bool, limit: int) -> None:
    wanted = PageRequest(limit=limit)
    _is_a_range_of("tasks_pkey", after(wanted, ALL // 2) if from_the_middle else wanted)


def test_the_last_page_by_created_reads_what_is_left_by_the_primary_key() -> None:
    found = paging.plan(after(CREATED, ALL - LIMIT * 10))
    # For so few rows sorting them may be the cheaper way, and the planner may take it.
    assert _indexes(found) == ["tasks_pkey"]
    assert paging.rows_read(found) <= LIMIT + 1


def test_the_newest_tasks_are_the_other_end_of_the_primary_key() -> None:
    _is_a_range_of("tasks_pkey", CREATED._replace(sort=Sort.CREATED_DESCENDING))


@pytest.mark.parametrize(
    ("status", "number"), [(Status.PENDING, 0), (Status.COMPLETED, 0), (Status.COMPLETED, ALL // 2)]
)
def test_a_page_of_one_status_is_read_without_the_tasks_of_the_other(
    status: Status, number: int
) -> None:
    wanted = CREATED._replace(status=status)
    found = paging.plan(after(wanted, number) if number else wanted)
    assert _kinds(found) <= {"Limit", "Result", "Index Scan"}
    assert paging.rows_read(found) <= LIMIT + 1


def test_the_pages_that_grow_read_no_other_users_tasks() -> None:
    for wanted in (PageRequest(sort=Sort.TITLE), PageRequest(q="nothing like it")):
        assert paging.rows_read(paging.plan(wanted._replace(limit=LIMIT))) <= MINE


def _is_a_range_of(index: str, wanted: PageRequest) -> None:
    found = paging.plan(wanted)
    assert _kinds(found) <= {"Limit", "Result", "Index Scan"}, found
    assert _indexes(found) == [index]
    assert paging.rows_read(found) <= wanted.limit + 1


def _indexes(found: dict[str, object]) -> list[str]:
    return [str(node["Index Name"]) for node in paging.nodes(found) if "Index Name" in node]


def _kinds(found: dict[str, object]) -> set[str]:
    return {str(node["Node Type"]) for node in paging.nodes(found)}
