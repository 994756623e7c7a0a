"""The typed parameters that the routes declare."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Body, Path

import tasks

UserId = Annotated[tasks.UserId, Path(description="Who the tasks belong to: the token's `sub`.")]
TaskId = Annotated[tasks.TaskId, Path(description="The task's id, a UUID.")]

__all__ = ["Body", "TaskId", "UserId"]
