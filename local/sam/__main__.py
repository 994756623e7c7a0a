"""The command line: `python -m local.sam [image | api | invoke FUNCTION [EVENTFILE]]`.

It works on the folder that it is called in, and on what `sam build` made there. What goes wrong
is one sentence on stderr and exit status 1; Ctrl-C ends everything and is no error.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from local.errors import LocalError
from local.sam import processes
from local.sam.commands import STOP_SECONDS, debugger_options, default_event, sam_local
from local.sam.daemon import docker_daemon
from local.sam.image import AWS, image_options
from local.settings import HOST, Settings, read_settings
from local.stack import MIGRATE

_USAGE = "usage: python -m local.sam [image | api | invoke FUNCTION [EVENTFILE]]"


def main() -> None:
    """Run one subcommand and exit with its status."""
    try:
        with processes.interruptible():
            sys.exit(_command(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(0)
    except LocalError as error:
        sys.exit(str(error))


def _command(arguments: list[str]) -> int:
    settings = read_settings(Path.cwd(), os.environ)
    match [argument for argument in arguments if argument]:
        case ["image"]:
            return _image(settings)
        case ["api"]:
            return _api(settings)
        case ["invoke", function]:
            return _invoke(settings, function, default_event(settings, function))
        case ["invoke", function, event]:
            return _invoke(settings, function, Path(event))
    raise LocalError(_USAGE)


def _image(settings: Settings) -> int:
    with docker_daemon(_say) as docker:
        if not image_options(docker, settings.root, _say):
            _say(f"{AWS} is here; nothing stands in for it.")
    return 0


def _api(settings: Settings) -> int:
    with sam_local(settings, _build(settings), _say) as sam:
        _say("Applying the schema ...")
        sam.migrate()
        address = ("--host", HOST, "--port", str(settings.port))
        debugger = debugger_options(settings, _say)
        if settings.debug:
            debugger += ["--debug-function", settings.debug]
        _say(f"Starting on http://{HOST}:{settings.port} (`make token USER=alice` makes a token)")
        return _until_ended(
            sam.start("start-api", *address, "--warm-containers", "EAGER", *debugger)
        )


def _invoke(settings: Settings, function: str, event: Path) -> int:
    with sam_local(settings, _build(settings), _say) as sam:
        if sam.is_fresh and function != MIGRATE:
            sam.migrate()
        debugger = debugger_options(settings, _say)
        return _until_ended(sam.start("invoke", function, "--event", str(event), *debugger))


def _until_ended(process: subprocess.Popen[str]) -> int:
    try:
        return process.wait()
    finally:
        processes.end(process, signal.SIGINT, STOP_SECONDS)


def _build(settings: Settings) -> Path:
    return settings.root / ".aws-sam" / "build"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
