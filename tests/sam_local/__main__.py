"""Run a command with a Docker daemon and an image, on a machine that lacks them.

`python -m tests.sam_local make sam-local`: CI has neither a Docker daemon nor AWS's image.
"""

import os
import shlex
import signal
import subprocess
import sys

from tests.running import ROOT
from tests.sam_local.daemon import docker_daemon, end
from tests.sam_local.image import image_options


def main() -> int:
    """Run the command, and return its exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with docker_daemon(print):
        environ = {**os.environ, "SAM_OPTIONS": shlex.join(image_options(ROOT, print))}
        process = subprocess.Popen(sys.argv[1:], env=environ, text=True, start_new_session=True)
        try:
            return process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            end(process, signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
