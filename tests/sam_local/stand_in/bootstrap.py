"""Run the handler, as the file of this name in AWS's image does. Debuggers start it directly."""

import os
import sys

# Lambda's order: the function's own code, then the layers, then the runtime's libraries.
sys.path[:1] = [
    os.environ.get("LAMBDA_TASK_ROOT", "/var/task"),
    "/opt/python/lib/python3.13/site-packages",
    "/opt/python",
    "/var/runtime",
]

from awslambdaric.__main__ import main  # noqa: E402 - only now it is on the path

main(["bootstrap", os.environ["_HANDLER"]])
