"""INIT, the start of an execution environment: what happens before a function's first request.

Import this before anything else. In Lambda it switches garbage collection off and begins to open
the database connection, in a thread, while Pydantic, the models and the rest are imported; `finish`
waits for the connection and switches collection on again. What a function imports stays for its
life: collecting during the imports finds next to nothing and takes a twelfth of a cold start
(docs/performance.md).

Elsewhere (in tests, while the specification is generated) importing a function does nothing.
"""

import gc
import os
import typing

from lambda_environment import is_lambda

HAS_DATABASE = bool(os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_SECRET"))

if is_lambda():
    gc.disable()


def begin() -> None:
    """Begin to open the connection, if the function has a database."""
    if is_lambda() and HAS_DATABASE:
        from tasks.database import database

        database().start_warming()


def _import_pydantic_core() -> None:
    """Import it with plain classes for the 80 TypedDicts that describe its schemas.

    Only type checkers read those, and making them takes 5 % of a cold start
    (docs/performance.md).
    """
    import typing_extensions  # noqa: F401 - from Python 3.15 on, it takes typing's for its own

    class Plain(dict[str, typing.Any]):
        def __init_subclass__(cls, total: bool = True) -> None:
            pass

    original, typing.TypedDict = typing.TypedDict, Plain  # type: ignore[assignment]
    try:
        import pydantic_core  # noqa: F401
    finally:
        typing.TypedDict = original


def finish(*, database: bool = True) -> None:
    """End INIT, where the CPU is at its fullest, with an open connection.

    Collect garbage from here on, but never look again at what INIT has left. Raise
    neon.ConfigurationError when the function needs a database and none is set.
    """
    if not is_lambda():
        return
    if database:
        from tasks.database import database as shared

        shared().warm()
    gc.freeze()
    gc.enable()


begin()
if is_lambda():
    _import_pydantic_core()
