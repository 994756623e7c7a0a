"""Whether this process is a Lambda function, and how it starts. It imports nothing of ours."""

import os


def is_lambda() -> bool:
    """Return whether this process runs under Lambda's Runtime API."""
    return "AWS_LAMBDA_RUNTIME_API" in os.environ


def is_snapshot() -> bool:
    """Return whether a SnapStart snapshot is taken after INIT."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"
