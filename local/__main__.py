"""The command line: `python -m local COMMAND`, where the Makefile has the commands.

It works on the folder that it is called in. An error is one sentence on stderr and exit status 1;
Ctrl-C, Ctrl-\\ and SIGTERM end everything and are no error.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from local.errors import SENTENCES, LocalError, sentence

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def main() -> None:
    """Run one subcommand and exit with its status."""
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler)
    for variable in [each for each in os.environ if each.startswith("PG")]:
        del os.environ[variable]  # libpq would read them beside the connection strings
    name, *arguments = sys.argv[1:] or [""]
    try:
        sys.exit(_command(name, arguments))
    except (KeyboardInterrupt, asyncio.CancelledError):
        # Ctrl-C is how these are meant to end; anything else did not finish.
        sys.exit(0 if name in ("run", "logs", "sam-local") else 128 + signal.SIGINT)
    except SENTENCES as error:
        sys.exit(sentence(error))


def _command(name: str, arguments: list[str]) -> int:
    # These imports take most of a second; Ctrl-C is already taken care of by now.
    from local import database, invoke, stack, terminal, token
    from local.sam import commands as sam
    from local.settings import near_misses, read_settings

    commands: dict[str, Callable[..., int | Coroutine[Any, Any, int]]] = {
        "run": stack.run,
        "token": token.token,
        "logs": terminal.follow,
        "psql": database.psql,
        "reset": database.reset,
        "invoke": invoke.invoke,
        "events": invoke.play_all,
        "sam-local": sam.serve,
        "sam-invoke": sam.invoke,
    }
    most = len(inspect.signature(commands[name]).parameters) - 1 if name in commands else -1
    if len(arguments) > most:
        raise LocalError(f"usage: python -m local [{' | '.join(commands)}]")
    settings = read_settings(Path.cwd(), os.environ)
    for near_miss in near_misses(settings):
        print(near_miss, file=sys.stderr, flush=True)
    done = commands[name](settings, *arguments)
    return done if isinstance(done, int) else _until_signalled(done)


def _until_signalled(command: Coroutine[Any, Any, int]) -> int:
    """Run a command; the first signal cancels it, and further ones do not disturb its ending."""

    async def cancellable() -> int:
        task = asyncio.create_task(command)
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
        return await task

    return asyncio.run(cancellable())


def _cancel_once(task: asyncio.Task[int]) -> None:
    if not task.cancelling():
        task.cancel()


if __name__ == "__main__":
    main()
