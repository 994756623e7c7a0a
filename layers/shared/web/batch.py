"""A batch as HTTP represents it; only its own endpoint imports this."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from tasks.batch import Batch, CreateOperation, Versions
from tasks.idempotency import WriteResult
from tasks.models import Task
from web.representations import etag, preconditions, replayed, represented
from web.response import Response


class BatchResult(BaseModel, defer_build=True):
    """What the operation's own route would have answered; no task after a deletion."""

    status: Literal[200, 201]
    task: Task | None
    etag: str | None


class BatchResults(BaseModel, defer_build=True):
    """One result for each operation, in their order."""

    results: list[BatchResult]


def versions(batch: Batch) -> list[Versions]:
    """Return the versions that each operation may change, from its `if_match`."""
    return [preconditions(getattr(each, "if_match", None)).versions for each in batch.operations]


def answered(batch: Batch, written: WriteResult[list[Task | None]]) -> Response[BatchResults]:
    """Return the results of a batch that was done."""
    results = [
        BatchResult(
            status=201 if isinstance(operation, CreateOperation) else 200,
            task=task,
            etag=etag(task) if task else None,
        )
        for operation, task in zip(batch.operations, written.value, strict=True)
    ]
    return represented(BatchResults(results=results), headers=replayed(written.replayed))
