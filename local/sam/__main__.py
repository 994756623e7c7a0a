"""The command line: `python -m local.sam [check FUNCTION [EVENT] | api | invoke FUNCTION [EVENT]]`.

It works on the folder that it is called in, and on what `sam build` made there; `check` says what
would be missing, before anything is built. An error is one sentence on stderr and exit status 1;
Ctrl-C ends everything and is no error.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from local.errors import LocalError
from local.recorded import find_event, read_event
from local.sam import processes
from local.sam.commands import api_options, check, debugger_options, sam_local
from local.sam.docker import Docker
from local.settings import HOST, Settings, read_settings
from local.started import announced
from local.template import function_names

_USAGE = "usage: python -m local.sam [check FUNCTION [EVENT] | api | invoke FUNCTION [EVENT]]"


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
        case ["check"] | ["api"] as command:
            check(settings, Docker())
            return _api(settings) if command == ["api"] else 0
        case ["check" | "invoke" as command, function, *rest] if len(rest) < 2:
            names = function_names(settings.root / "template.yaml")
            event = find_event(settings.root, names, function, rest[0] if rest else None)
            read_event(event)
            check(settings, Docker())
            return _invoke(settings, function, event) if command == "invoke" else 0
    raise LocalError(_USAGE)


def _api(settings: Settings) -> int:
    with sam_local(settings, _build(settings), _say) as sam:
        options = api_options(settings, _say)
        _say(f"Starting on http://{HOST}:{settings.port} (`make token USER=alice` makes a token)")
        with announced(settings, settings.port):
            return _until_ended(sam.start("start-api", *options))


def _invoke(settings: Settings, function: str, event: Path) -> int:
    with sam_local(settings, _build(settings), _say) as sam:
        debugger = debugger_options(settings, _say)
        return _until_ended(sam.start("invoke", function, "--event", str(event), *debugger))


def _until_ended(process: subprocess.Popen[str]) -> int:
    try:
        return process.wait()
    finally:
        processes.end(process, signal.SIGINT)


def _build(settings: Settings) -> Path:
    build = settings.root / ".aws-sam" / "build"
    if not (build / "template.yaml").exists():
        raise LocalError("There is nothing built: run `make build`.")
    return build


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
