"""The generator of the specification, with an endpoint that the API does not have."""

import pytest

from local.specification.__main__ import _links
from tasks.models import Task
from web.endpoint import endpoint
from web.parameters import TaskId, UserId
from web.response import Response


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "POST", "DELETE"])
def test_a_new_task_links_to_every_operation_that_takes_its_id(method: str) -> None:
    @endpoint(method, "/api/{user_id}/tasks/{task_id}/copy", operation="copyTask", summary="")
    def copy(user_id: UserId, task_id: TaskId) -> Response[Task]:
        raise NotImplementedError

    assert _links([copy])["copyTask"]["operationId"] == "copyTask"
