"""`make psql` and `make reset`: the embedded database, opened by hand, and emptied."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from local.errors import LocalError
from local.postgres import Postgres
from local.settings import Settings
from local.stack import embedded_postgres, starting


async def psql(settings: Settings) -> int:
    """Open psql as the database's owner, and start the server for it where none runs.

    Raises LocalError when there is no database yet.
    """
    postgres = _embedded(settings)
    if not postgres.exists():
        raise LocalError("There is no database yet: `make run` makes it.")
    async with starting(None if postgres.is_running() else postgres) as ready:
        await ready()
        return await _in_the_foreground(str(postgres.psql()), postgres.url)


async def reset(settings: Settings) -> int:
    """Delete the embedded database; the next start makes an empty one.

    It asks first, unless YES=1 is set. Raises LocalError while something uses the database.
    """
    postgres = _embedded(settings)
    if not postgres.exists():
        print("There is no database; `make run` makes an empty one.")
        return 0
    with postgres.locked():
        if settings.environ.get("YES") != "1":
            _confirm()
        postgres.delete()
    print("The database is deleted; `make run` makes an empty one.")
    return 0


def _embedded(settings: Settings) -> Postgres:
    postgres = embedded_postgres(settings, lambda text: print(text, file=sys.stderr))
    if postgres is None:
        raise LocalError("DATABASE_URL names another database; this is for the embedded one.")
    return postgres


def _confirm() -> None:
    """Raise LocalError unless a person agrees."""
    asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)  # ends the question
    try:
        said = input("Delete every task in the embedded database? [y/N] ")
    except (EOFError, KeyboardInterrupt):
        raise LocalError("Nobody answered, so nothing was deleted; YES=1 answers yes.") from None
    if said.strip().lower() not in ("y", "yes"):
        raise LocalError("Nothing was deleted.")


async def _in_the_foreground(*command: str) -> int:
    """Run a program that has the terminal: Ctrl-C is its own, and cancels a query in psql."""
    loop = asyncio.get_running_loop()
    loop.remove_signal_handler(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: None)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    process = await asyncio.create_subprocess_exec(*command, env=environ)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
