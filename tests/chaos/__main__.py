"""`python -m tests.chaos [SECONDS]`: chaos, three minutes of it if not told otherwise."""

import sys

from tests.chaos.run import main

sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 180.0))
