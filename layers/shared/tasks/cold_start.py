"""INIT, the start of an execution environment, without the garbage collector.

What a function imports stays for its life: collecting while it is imported finds next to nothing,
and takes a twelfth of a cold start (docs/performance.md). This is imported before all else.
"""

import gc
import os

IN_LAMBDA = "AWS_LAMBDA_RUNTIME_API" in os.environ

if IN_LAMBDA:
    gc.disable()


def over() -> None:
    """Collect from here on, and never look again at what INIT has left."""
    gc.freeze()
    gc.enable()
