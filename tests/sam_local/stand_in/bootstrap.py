"""Runs the handler, as the file of this name in AWS's image does; debuggers start it directly."""

import os
import sys

# The function's own code first, then layers, then what the runtime brings: Lambda's order.
sys.path[:1] = [
    os.environ.get("LAMBDA_TASK_ROOT", "/var/task"),
    "/opt/python/lib/python3.13/site-packages",
    "/opt/python",
    "/var/runtime",
]

from awslambdaric.__main__ import main  # noqa: E402 - it is on the path only now

main(["bootstrap", os.environ["_HANDLER"]])
