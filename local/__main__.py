"""The command line: `python -m local COMMAND`, where the Makefile has the commands.

It works on the folder that it is called in. An error is one sentence on stderr and exit status 1;
Ctrl-C and SIGTERM end everything and are no error.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from local.errors import LocalError

_USAGE = (
    "usage: python -m local"
    " [run | logs | psql | reset | invoke FUNCTION [EVENT] | events | migrate]"
)


def main() -> None:
    """Run one subcommand and exit with its status."""
    arguments = sys.argv[1:] or ["run"]
    try:
        sys.exit(asyncio.run(_until_signalled(arguments)))
    except asyncio.CancelledError:
        # Ctrl-C is how these are meant to end; anything else did not finish.
        sys.exit(0 if arguments in (["run"], ["logs"]) else 128 + signal.SIGINT)
    except LocalError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.strerror or error}: {error.filename or 'no file'}")


async def _until_signalled(arguments: list[str]) -> int:
    """Run a command; the first signal cancels it, and further ones do not disturb its ending."""
    task = asyncio.create_task(_command(arguments))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
    return await task


async def _command(arguments: list[str]) -> int:
    # These imports take most of a second; Ctrl-C is already taken care of by now.
    from local.database import psql, reset
    from local.invoke import invoke, migrate, play_all
    from local.logs import follow
    from local.run import run
    from local.settings import read_settings

    settings = read_settings(Path.cwd(), os.environ)
    match arguments:
        case ["run"]:
            return await run(settings)
        case ["logs"]:
            return await follow(settings.state / "logs")
        case ["psql"]:
            return await psql(settings)
        case ["reset"]:
            return await reset(settings)
        case ["invoke", function, *rest] if len(rest) < 2:
            return await invoke(settings, function, rest[0] if rest else None)
        case ["events"]:
            return await play_all(settings)
        case ["migrate"]:
            return await migrate(settings)
    raise LocalError(_USAGE)


def _cancel_once(task: asyncio.Task[int]) -> None:
    if not task.cancelling():
        task.cancel()


if __name__ == "__main__":
    main()
