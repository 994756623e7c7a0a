"""POST /api/{user_id}/tasks/batch: many operations, all or nothing."""

from typing import Annotated

import startup
from tasks import batch
from web.batch import BatchResults, answered, versions
from web.endpoint import endpoint
from web.parameters import Body, IdempotencyKey, UserId
from web.response import Response


@endpoint(
    "POST",
    "/api/{user_id}/tasks/batch",
    operation="batchTasks",
    summary="Create, update, toggle and delete many tasks at once",
)
def handler(
    user_id: UserId, wanted: Annotated[batch.Batch, Body], key: IdempotencyKey = None
) -> Response[BatchResults]:
    """Do all operations in their order, or none: the first that cannot be done is the answer."""
    return answered(wanted, batch.run(user_id, wanted, versions(wanted), key))


startup.finish()
