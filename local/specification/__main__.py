"""Write the OpenAPI document, or check it: `python -m local.specification [--check]`.

It is made in an environment without settings: an exported one is not everybody's default.
"""

import os
import subprocess
import sys

from local.specification import ROOT

if __name__ == "__main__":
    path = os.pathsep.join(map(str, (ROOT, ROOT / "layers" / "shared")))
    command = [sys.executable, "-m", "local.specification.document", *sys.argv[1:]]
    sys.exit(subprocess.run(command, env={"PYTHONPATH": path}, check=False).returncode)
