"""A session with the client that openapi-python-client makes: `session.py URL USER TOKEN`.

It runs in .venv-clients, with the generated package on PYTHONPATH.
"""

import re
import sys
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from task_api_client import AuthenticatedClient, Client
from task_api_client.api.tasks import (
    batch_tasks,
    create_task,
    delete_task,
    get_task,
    list_tasks,
    toggle_task,
    update_task,
)
from task_api_client.models import (
    Batch,
    BatchResults,
    CreateOperation,
    DeleteOperation,
    GatewayMessage,
    Problem,
    Task,
    TaskCreate,
    TaskUpdate,
    ToggleOperation,
    UpdateOperation,
    ValidationProblem,
)

url, user, token = sys.argv[1:]
api = AuthenticatedClient(url, token)


def expect(response: Any, status: int, kind: type) -> Any:
    """Return the parsed body of a response that has this status and this type."""
    assert response.status_code == HTTPStatus(status), response
    assert isinstance(response.parsed, kind), response
    return response.parsed


# Create, once for all requests with this key.
key = str(uuid4())
body = TaskCreate(title="Water the plants")
first = create_task.sync_detailed(user, client=api, body=body, idempotency_key=key)
again = create_task.sync_detailed(user, client=api, body=body, idempotency_key=key)
task = expect(first, 201, Task)
assert expect(again, 201, Task).id == task.id
assert again.headers["Idempotency-Replayed"] == "true"

# Page to the end.
for number in range(4):
    new = TaskCreate(title=f"task {number}", description="one of four")
    expect(create_task.sync_detailed(user, client=api, body=new), 201, Task)
titles, wanted = [], {"limit": 2}
while wanted:
    page = list_tasks.sync_detailed(user, client=api, **wanted)
    titles += [each.title for each in expect(page, 200, list)]
    link = re.search(r'<([^>]+)>; rel="next"', page.headers.get("Link", ""))
    query = parse_qs(urlsplit(link[1]).query) if link else {}
    wanted = {"limit": 2, "cursor": query["cursor"][0]} if link else {}
assert titles == ["Water the plants", *(f"task {number}" for number in range(4))]

# Change it, unless somebody else has.
etag = first.headers["ETag"]
change = TaskUpdate(completed=True)
changed = update_task.sync_detailed(user, task.id, client=api, body=change, if_match=etag)
assert expect(changed, 200, Task).completed is True
assert expect(toggle_task.sync_detailed(user, task.id, client=api), 200, Task).completed is False

# Many at once: all of it, or the index of the first that cannot be done.
new = CreateOperation(op="create", task=TaskCreate(title="in a batch"))
rename = UpdateOperation(op="update", id=task.id, task=TaskUpdate(title="Water"), if_match="*")
toggles = [ToggleOperation(op="toggle", id=task.id)] * 2
batch = Batch(operations=[new, rename, *toggles])
done = expect(batch_tasks.sync_detailed(user, client=api, body=batch), 200, BatchResults)
assert [each.status for each in done.results] == [201, 200, 200, 200]
assert done.results[1].task.title == "Water"
gone = DeleteOperation(op="delete", id=uuid4())
none = batch_tasks.sync_detailed(user, client=api, body=Batch(operations=[new, gone]))
assert expect(none, 404, Problem).operation == 1

# Every kind of error that a client alone can cause.
stale = update_task.sync_detailed(user, task.id, client=api, body=change, if_match=etag)
assert expect(stale, 412, Problem).type_.value == "/problems/precondition-failed"
assert get_task.sync_detailed(user, task.id, client=api).headers["ETag"]
wrong = create_task.sync_detailed(user, client=api, body=TaskCreate(title=" "))
assert expect(wrong, 422, ValidationProblem).detail[0].loc == ["body", "title"]
large = TaskCreate(title="x", description="x" * 1_100_000)
expect(create_task.sync_detailed(user, client=api, body=large), 413, Problem)
expect(list_tasks.sync_detailed("somebody-else", client=api), 403, Problem)
expect(list_tasks.sync_detailed(user, client=AuthenticatedClient(url, "junk")), 401, Problem)
expect(list_tasks.sync_detailed(user, client=Client(url)), 401, GatewayMessage)
assert expect(delete_task.sync_detailed(user, task.id, client=api), 200, object).message
expect(get_task.sync_detailed(user, task.id, client=api), 404, Problem)
