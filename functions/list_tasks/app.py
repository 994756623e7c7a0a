"""GET /api/{user_id}/tasks: the user's tasks, a page at a time."""

import startup
from tasks import orders, store
from tasks.models import Task
from tasks.paging import PageRequest
from tasks.settings import settings
from web.endpoint import endpoint
from web.parameters import Cursor, IfMatch, IfNoneMatch, Limit, Search, Sort, Status, UserId
from web.representations import PAGE_BYTES, listed
from web.response import Response

_DEFAULT_SORT = settings().default_sort


@endpoint(
    "GET",
    "/api/{user_id}/tasks",
    operation="listTasks",
    summary="List the user's tasks",
    too_slow="The list took too long; ask for less: a shorter page, or without q",
)
def handler(
    user_id: UserId,
    status: Status = orders.Status.ALL,
    sort: Sort = _DEFAULT_SORT,
    q: Search = "",
    limit: Limit = 1000,
    cursor: Cursor = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[list[Task]]:
    """The user's tasks, oldest first; if there are more, `Link` says where the next page is."""
    wanted = PageRequest(status, sort, q, limit, cursor)
    # A response without a body costs the client nothing, however much the database reads for it. A
    # first page that is asked for plainly would take 3 % longer with a bound.
    room = PAGE_BYTES if cursor or if_match or if_none_match else None
    page = store.list_page(user_id, wanted, room)
    return listed(page, wanted, handler.url(user_id=user_id), if_match, if_none_match)


startup.finish()
