"""GET /api/{user_id}/tasks: the user's tasks, a page at a time."""

import startup  # first of all
import tasks
from tasks import PageRequest, Task, store
from web import Cursor, IfNoneMatch, Limit, Response, Search, Sort, Status, UserId, api, listed


@api.get("/api/{user_id}/tasks", summary="List the user's tasks", operation="listTasks")
def list_tasks(
    user_id: UserId,
    status: Status = tasks.Status.ALL,
    sort: Sort = tasks.Sort.CREATED,
    q: Search = "",
    limit: Limit = 1000,
    cursor: Cursor = None,
    if_none_match: IfNoneMatch = None,
) -> Response[list[Task]]:
    """The user's tasks, oldest first; if there are more, `Link` says where the next page is."""
    page = store.list_page(user_id, PageRequest(status, sort, q, limit, cursor))
    return listed(page, user_id, api.query, if_none_match)


handler = api
startup.finish(database=True)
